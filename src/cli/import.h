/* import: what the formats share. One reader for each format takes records from the input, finds
 * key and value, and gives them to fx_cli_import_put. */
#ifndef FX_CLI_IMPORT_H
#define FX_CLI_IMPORT_H

#include "cli/args.h"
#include "cli/input.h"
#include "cli/progress.h"

typedef struct fx_cli_import {
    const fx_cli_args *args;
    feox_store *store;
    feox_write write;
    fx_cli_input input;
    fx_cli_progress progress;
    fx_cli_buffer key;        /* scratch for the decoded key; begins with the key prefix */
    size_t key_prefix_size;
    fx_cli_buffer value;      /* scratch for a decoded value */
    uint64_t stored;
    uint64_t skipped;         /* there already, with --if-absent */
    uint64_t line;            /* where the current record begins */
    char delimiter;
    uint64_t key_field;       /* 1-based; 0: not known yet, it is named */
    uint64_t value_field;     /* the same; UINT64_MAX: the whole record */
} fx_cli_import;

/* Stores import->key with the value. ttl_ms 0: that of the command line. 0 or an exit status. */
int fx_cli_import_put(fx_cli_import *import, const void *value, size_t value_len, uint64_t ttl_ms);
/* "FILE:LINE: message (N records imported)", FX_CLI_FAILED. */
int fx_cli_import_bad(fx_cli_import *import, const char *message);
/* Empties import->key but for the prefix. */
void fx_cli_import_key_reset(fx_cli_import *import);

/* The readers; 0 or an exit status. */
int fx_cli_import_delimited(fx_cli_import *import);
int fx_cli_import_csv(fx_cli_import *import);
int fx_cli_import_jsonl(fx_cli_import *import);
int fx_cli_import_json(fx_cli_import *import);
int fx_cli_import_export(fx_cli_import *import);

#endif
