# libfeox: one set of objects, a shared and a static library.
pkg_check_modules(XXHASH REQUIRED libxxhash)
find_library(URING_ARCHIVE NAMES liburing.a REQUIRED)

file(GLOB FEOX_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/base/*.c
  ${PROJECT_SOURCE_DIR}/src/index/*.c ${PROJECT_SOURCE_DIR}/src/disk/*.c
  ${PROJECT_SOURCE_DIR}/src/engine/*.c ${PROJECT_SOURCE_DIR}/src/store/*.c)

add_library(feox_objects OBJECT ${FEOX_SOURCES})
target_include_directories(feox_objects PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(feox_objects PRIVATE feox_flags)
set_target_properties(feox_objects PROPERTIES POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden)

add_library(feox_shared SHARED $<TARGET_OBJECTS:feox_objects>)
target_include_directories(feox_shared PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
target_link_libraries(feox_shared PRIVATE ${URING_ARCHIVE} Threads::Threads)
set_target_properties(feox_shared PROPERTIES OUTPUT_NAME feox VERSION ${PROJECT_VERSION} SOVERSION 1)

add_library(feox_static STATIC $<TARGET_OBJECTS:feox_objects>)
target_include_directories(feox_static PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
target_link_libraries(feox_static PUBLIC ${URING_ARCHIVE} Threads::Threads)
set_target_properties(feox_static PROPERTIES OUTPUT_NAME feox)
