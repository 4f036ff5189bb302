# The feox command: see src/cli. It sees nothing of the library but include/feox.h.
file(GLOB FEOX_COMMAND_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/cli/*.c)
add_executable(feox_command ${FEOX_COMMAND_SOURCES})
target_include_directories(feox_command PRIVATE ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(feox_command PRIVATE feox_flags feox_static)
set_target_properties(feox_command PROPERTIES OUTPUT_NAME feox)
include(GNUInstallDirs)
install(TARGETS feox_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
