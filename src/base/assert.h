/* assert: three strengths of "this cannot be".
 *
 * FX_ASSERT       debug builds: stops the program. Nothing in release.
 * FX_ASSERT_SLOW  debug builds with FX_SLOW_ASSERTS: whole-structure walks.
 * FX_CHECK        always evaluated, yields the condition: the caller turns a false one into a
 *                 status. The library never aborts its host.
 */
#ifndef FX_BASE_ASSERT_H
#define FX_BASE_ASSERT_H

#include <stdbool.h>

#define FX_LIKELY(x) __builtin_expect(!!(x), 1)
#define FX_UNLIKELY(x) __builtin_expect(!!(x), 0)

#ifdef FX_DEBUG
#define FX_ASSERT(condition) ((condition) ? (void)0 : __builtin_trap())
#else
#define FX_ASSERT(condition) ((void)sizeof(condition))
#endif

#ifdef FX_SLOW_ASSERTS
#define FX_ASSERT_SLOW(condition) FX_ASSERT(condition)
#else
#define FX_ASSERT_SLOW(condition) ((void)sizeof(condition))
#endif

#define FX_CHECK(condition) FX_LIKELY(condition)

#endif
