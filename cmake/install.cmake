# `cmake --install BUILD --prefix FOLDER`, and `cpack` in a build folder for a Debian package (scripts/deb does all of it).
include(GNUInstallDirs)
set(LOGITOP_ZSH_DIR ${CMAKE_INSTALL_DATADIR}/zsh/site-functions CACHE STRING "Where zsh looks for completions, below the prefix")

install(TARGETS logitop RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
file(GLOB pages CONFIGURE_DEPENDS share/man/*.[1-9])
foreach(page ${pages})
    string(REGEX MATCH "[1-9]$" section ${page})
    install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()
install(FILES share/completions/logitop.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME logitop)
install(FILES share/completions/logitop.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES share/completions/_logitop DESTINATION ${LOGITOP_ZSH_DIR})
install(FILES LICENSE README.md CHANGES.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
# Everything else in share/ is the program's own data: themes, the example configuration.
install(DIRECTORY share/ DESTINATION ${CMAKE_INSTALL_DATADIR}/logitop PATTERN man EXCLUDE PATTERN completions EXCLUDE)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_CONTACT "the logitop authors <logitop@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "chat with a local language model and see what it is about to say")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "A terminal chat for local language models in GGUF files, on an NVIDIA card
or the CPU. Beside the conversation stand the candidates of the next token
with their probabilities, below it tokens per second; any token can be looked
at, and another way taken.")
set(CPACK_DEBIAN_PACKAGE_SECTION misc)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS ca-certificates) # to fetch models
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON) # what it links, as dpkg-shlibdeps finds it
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/deb.cmake)
include(CPack)
