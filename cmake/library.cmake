# libfeox: one set of objects; a shared library, a static one, and libfeox-jemalloc.
#
# What the loader sees is part of the interface: feox_* and nothing else, no dependency but libc
# (xxHash is inlined, liburing linked from its archive), no static TLS, never unloaded (-z nodelete:
# a background thread may still run in it when a host calls dlclose). cmake/check_package.sh checks
# all of it.
pkg_check_modules(XXHASH REQUIRED libxxhash)
find_library(URING_ARCHIVE NAMES liburing.a REQUIRED)

file(GLOB FEOX_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/base/*.c
  ${PROJECT_SOURCE_DIR}/src/index/*.c ${PROJECT_SOURCE_DIR}/src/disk/*.c
  ${PROJECT_SOURCE_DIR}/src/engine/*.c ${PROJECT_SOURCE_DIR}/src/store/*.c)

add_library(feox_objects OBJECT ${FEOX_SOURCES})
target_include_directories(feox_objects PUBLIC ${PROJECT_SOURCE_DIR}/include
  ${PROJECT_SOURCE_DIR}/src)
target_include_directories(feox_objects PRIVATE ${XXHASH_INCLUDE_DIRS})
target_link_libraries(feox_objects PRIVATE feox_flags)
set_target_properties(feox_objects PROPERTIES POSITION_INDEPENDENT_CODE ON
  C_VISIBILITY_PRESET hidden)

# The sanitizers' runtime is found in the program, so their builds cannot ask for --no-undefined.
if(CMAKE_BUILD_TYPE MATCHES "^(Asan|Tsan|Coverage)$")
  set(FEOX_SANITIZED ON)
else()
  set(FEOX_SANITIZED OFF)
endif()

add_library(feox_shared SHARED $<TARGET_OBJECTS:feox_objects>)
add_library(feox::shared ALIAS feox_shared)
target_include_directories(feox_shared PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
target_link_libraries(feox_shared PRIVATE ${URING_ARCHIVE} Threads::Threads)
target_link_options(feox_shared PRIVATE
  LINKER:--version-script=${PROJECT_SOURCE_DIR}/cmake/feox.map
  LINKER:--exclude-libs,ALL LINKER:-z,nodelete LINKER:-z,relro LINKER:-z,now
  $<$<NOT:$<BOOL:${FEOX_SANITIZED}>>:LINKER:--no-undefined>)
set_target_properties(feox_shared PROPERTIES OUTPUT_NAME feox VERSION ${PROJECT_VERSION} SOVERSION 1
  EXPORT_NAME shared LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/feox.map)

# The archive is one object in which everything hidden is local: two libraries may both have an
# fx_table_get. Sanitizer builds take the plain objects, whose symbols their reports need.
if(FEOX_SANITIZED)
  add_library(feox_static STATIC $<TARGET_OBJECTS:feox_objects>)
else()
  set(one_object ${PROJECT_BINARY_DIR}/feox_all.o)
  add_custom_command(OUTPUT ${one_object}
    COMMAND ${CMAKE_LINKER} -r -o ${one_object} $<TARGET_OBJECTS:feox_objects>
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${one_object}
    DEPENDS feox_objects $<TARGET_OBJECTS:feox_objects> COMMAND_EXPAND_LISTS VERBATIM
    COMMENT "Linking the archive's one object")
  set_source_files_properties(${one_object} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  add_library(feox_static STATIC ${one_object})
  set_target_properties(feox_static PROPERTIES LINKER_LANGUAGE C)
endif()
add_library(feox::static ALIAS feox_static)
target_include_directories(feox_static PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
target_link_libraries(feox_static PUBLIC $<BUILD_INTERFACE:${URING_ARCHIVE}>
  $<INSTALL_INTERFACE:uring> Threads::Threads)
set_target_properties(feox_static PROPERTIES OUTPUT_NAME feox EXPORT_NAME static)

# jemalloc for native hosts that want it: libfeox only refers to it weakly (src/base/mem.c), this
# library brings it into the process. A program that is dlopen()ed cannot have it; libfeox can.
find_library(JEMALLOC_LIBRARY NAMES jemalloc)
if(JEMALLOC_LIBRARY AND NOT FEOX_SANITIZED)
  add_library(feox_jemalloc SHARED ${PROJECT_SOURCE_DIR}/cmake/jemalloc.c)
  target_link_libraries(feox_jemalloc PRIVATE feox_flags INTERFACE ${JEMALLOC_LIBRARY}
    PRIVATE ${JEMALLOC_LIBRARY})
  set_target_properties(feox_jemalloc PROPERTIES OUTPUT_NAME feox-jemalloc
    VERSION ${PROJECT_VERSION} SOVERSION 1)
endif()
