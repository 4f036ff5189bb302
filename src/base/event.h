/* event: a descriptor that others can poll, and that becomes readable when it is raised. Any
 * thread.
 */
#ifndef FX_BASE_EVENT_H
#define FX_BASE_EVENT_H

/* A raised one, closed on exec. -errno: none can be had. */
int fx_event_open(void);
void fx_event_close(int fd);
/* Readable from now on, until it is cleared. */
void fx_event_raise(int fd);
void fx_event_clear(int fd);

#endif
