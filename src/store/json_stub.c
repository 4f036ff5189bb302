#include "store/json.h"
feox_status fx_json_patch(const char *d, size_t dl, const char *p, size_t pl, size_t rl, char **r, size_t *rn) { (void)d,(void)dl,(void)p,(void)pl,(void)rl,(void)r,(void)rn; return FEOX_ERR_UNSUPPORTED; }
feox_status fx_json_merge(const char *d, size_t dl, const char *p, size_t pl, size_t rl, char **r, size_t *rn) { (void)d,(void)dl,(void)p,(void)pl,(void)rl,(void)r,(void)rn; return FEOX_ERR_UNSUPPORTED; }
