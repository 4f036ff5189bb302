/* commands: one function for each `feox FILE COMMAND`. Each checks its words, opens the store, does
 * its work, closes the store, and returns the exit status. */
#ifndef FX_CLI_COMMANDS_H
#define FX_CLI_COMMANDS_H

#include "cli/args.h"

int fx_cli_run_get(const fx_cli_args *args);
int fx_cli_run_set(const fx_cli_args *args);
int fx_cli_run_del(const fx_cli_args *args);
int fx_cli_run_cas(const fx_cli_args *args);
int fx_cli_run_incr(const fx_cli_args *args);
int fx_cli_run_patch(const fx_cli_args *args);
int fx_cli_run_merge(const fx_cli_args *args);
int fx_cli_run_ttl(const fx_cli_args *args);
int fx_cli_run_expire(const fx_cli_args *args);
int fx_cli_run_persist(const fx_cli_args *args);
int fx_cli_run_scan(const fx_cli_args *args);
int fx_cli_run_count(const fx_cli_args *args);
int fx_cli_run_stat(const fx_cli_args *args);
int fx_cli_run_check(const fx_cli_args *args);
int fx_cli_run_salvage(const fx_cli_args *args);
int fx_cli_run_compact(const fx_cli_args *args);
int fx_cli_run_export(const fx_cli_args *args);
int fx_cli_run_import(const fx_cli_args *args);

/* What a write did, as JSON if --json asks for it. */
void fx_cli_print_written(const fx_cli_args *args, const feox_written *written);

#endif
