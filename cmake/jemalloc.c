/* libfeox-jemalloc: one strong reference to jemalloc. libfeox refers to its names weakly and uses
 * them if the process has them; a program that links this library has them. Nobody need call it.
 */
#include <stddef.h>

extern void *mallocx(size_t size, int flags);

/* Exported, so that a program can name it and the linker's --as-needed keep the library. */
extern void *(*const feox_jemalloc_anchor)(size_t size, int flags);
void *(*const feox_jemalloc_anchor)(size_t size, int flags) = mallocx;
