# What `cmake --install` puts in place: header, libraries, pkg-config files, CMake package. The
# command is installed where it is built, in command.cmake.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(FILES ${PROJECT_SOURCE_DIR}/include/feox.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS feox_shared feox_static EXPORT feoxTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})

# The .pc files find their prefix from where they are, so that the tree can be moved.
set(pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH FEOX_PC_UP /${pc_dir} /)
string(REGEX REPLACE "/$" "" FEOX_PC_UP "${FEOX_PC_UP}")
configure_file(${PROJECT_SOURCE_DIR}/cmake/feox.pc.in ${PROJECT_BINARY_DIR}/feox.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/feox.pc DESTINATION ${pc_dir})
if(TARGET feox_jemalloc)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/feox-jemalloc.pc.in
    ${PROJECT_BINARY_DIR}/feox-jemalloc.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/feox-jemalloc.pc DESTINATION ${pc_dir})
  install(TARGETS feox_jemalloc LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/feox)
install(EXPORT feoxTargets NAMESPACE feox:: DESTINATION ${package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/feoxConfig.cmake.in
  ${PROJECT_BINARY_DIR}/feoxConfig.cmake INSTALL_DESTINATION ${package_dir}
  NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/feoxConfigVersion.cmake
  COMPATIBILITY SameMajorVersion)
install(FILES ${PROJECT_BINARY_DIR}/feoxConfig.cmake ${PROJECT_BINARY_DIR}/feoxConfigVersion.cmake
  DESTINATION ${package_dir})
