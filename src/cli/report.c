/* report: stat, check, salvage and compact. */
#include <string.h>

#include "cli/commands.h"
#include "cli/out.h"

typedef struct stat_line {
    const char *name;
    uint64_t number;
} stat_line;

static void print_statistics(const fx_cli_args *args, const feox_statistics *s) {
    const stat_line lines[] = {{"keys", s->keys},
                               {"memory_used", s->memory_used},
                               {"memory_limit", s->memory_limit},
                               {"file_size", s->file_size},
                               {"file_free", s->file_free},
                               {"file_live", s->file_live},
                               {"inserts", s->inserts},
                               {"updates", s->updates},
                               {"deletes", s->deletes},
                               {"expirations", s->expirations},
                               {"evictions", s->evictions},
                               {"disk_reads", s->disk_reads},
                               {"disk_read_bytes", s->disk_read_bytes},
                               {"disk_write_bytes", s->disk_write_bytes},
                               {"groups_written", s->groups_written},
                               {"checkpoints", s->checkpoints},
                               {"window_bytes", s->window_bytes},
                               {"window_age_ms", s->window_age_ms},
                               {"corrupt_records", s->corrupt_records},
                               {"file_free_extents", s->file_free_extents},
                               {"file_free_longest", s->file_free_longest},
                               {"file_waiting", s->file_waiting},
                               {"compacted_bytes", s->compacted_bytes}};
    bool json = FX_CLI_HAS(args, JSON);
    fx_cli_out_text(json ? "{" : "");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        fx_cli_out_text(json ? "\"" : "");
        fx_cli_out_text(lines[i].name);
        fx_cli_out_text(json ? "\":" : " ");
        for (size_t width = strlen(lines[i].name); !json && width < 18; width++) {
            fx_cli_out_text(" ");
        }
        fx_cli_out_number(lines[i].number);
        fx_cli_out_text(json ? "," : "\n");
    }
    fx_cli_out_text(json ? "\"io_error\":" : "io_error           ");
    fx_cli_out_signed(s->io_error);
    fx_cli_out_text(json ? "}\n" : "\n");
}

int fx_cli_run_stat(const fx_cli_args *args) {
    feox_store *store = NULL;
    feox_statistics statistics;
    int status = fx_cli_store_open(args, FX_CLI_READ, &store);
    if (status == 0) {
        feox_statistics_init(&statistics);
        status = fx_cli_status(feox_stats(store, &statistics), args->file, strlen(args->file));
        if (status == 0) {
            print_statistics(args, &statistics);
        }
        status = fx_cli_store_close(args, store, status);
    }
    return status;
}

/* What is wrong, where, and whose key it costs: one line. */
static void print_finding(void *context, const feox_finding *finding) {
    (void)context;
    fx_cli_out_text(finding->text);
    if (finding->length > 0) {
        fx_cli_out_text("; offset ");
        fx_cli_out_number(finding->offset);
        fx_cli_out_text(" length ");
        fx_cli_out_number(finding->length);
    }
    if (finding->key != NULL) {
        fx_cli_out_text("; key ");
        fx_cli_out_escaped(finding->key, finding->key_len);
    }
    fx_cli_out_text("\n");
}

/* What opening the file found damaged and left out, unless the check itself has counted it. */
static uint64_t damaged_at_open(feox_store *store, const feox_check_report *report) {
    feox_statistics statistics;
    feox_statistics_init(&statistics);
    if (report->problems > 0) {
        return 0;
    }
    (void)feox_stats(store, &statistics);
    if (statistics.corrupt_records > 0) {
        fx_cli_out_number(statistics.corrupt_records);
        fx_cli_out_text(" records were found damaged when the file was opened\n");
    }
    return statistics.corrupt_records;
}

int fx_cli_run_check(const fx_cli_args *args) {
    feox_store *store = NULL;
    feox_check_report report;
    int status = fx_cli_store_open(args, FX_CLI_LOOK, &store);
    if (status != 0) {
        return status;
    }
    feox_check_report_init(&report);
    feox_status checked = feox_check_with(store, FX_CLI_HAS(args, FULL) ? 0 : FEOX_CHECK_QUICK,
                                          &report, print_finding, NULL);
    if (checked == FEOX_OK || checked == FEOX_ERR_CORRUPT) {
        uint64_t damaged = damaged_at_open(store, &report);
        report.records_damaged += damaged;
        report.problems += damaged;
        fx_cli_out_number(report.keys_checked);
        fx_cli_out_text(" keys checked, ");
        fx_cli_out_number(report.records_damaged);
        fx_cli_out_text(" records damaged, ");
        fx_cli_out_number(report.blocks_damaged);
        fx_cli_out_text(" blocks damaged, ");
        fx_cli_out_number(report.problems);
        fx_cli_out_text(" problems\n");
    }
    if (checked == FEOX_ERR_CORRUPT || (checked == FEOX_OK && report.problems > 0)) {
        status = fx_cli_fail("%s: the check found %llu problems", args->file,
                             (unsigned long long)report.problems);
    } else {
        status = fx_cli_status(checked, args->file, strlen(args->file));
    }
    return fx_cli_store_close(args, store, status);
}

int fx_cli_run_salvage(const fx_cli_args *args) {
    feox_salvage_report report;
    feox_salvage_report_init(&report);
    const char *to = args->operands[0];
    feox_status status = feox_salvage(args->file, to, &report, print_finding, NULL);
    if (status == FEOX_EXISTS) {
        return fx_cli_fail("%.800s exists already; salvage makes a new store", to);
    }
    if (status != FEOX_OK && status != FEOX_ERR_CORRUPT) {
        return fx_cli_status(status, args->file, strlen(args->file));
    }
    fx_cli_out_number(report.keys_copied);
    fx_cli_out_text(" keys copied, ");
    fx_cli_out_number(report.bytes_copied);
    fx_cli_out_text(" bytes, ");
    fx_cli_out_number(report.keys_lost);
    fx_cli_out_text(" keys lost, ");
    fx_cli_out_number(report.problems);
    fx_cli_out_text(report.scanned != 0
                        ? " problems; the file was searched, for its table is lost\n"
                        : " problems\n");
    if (status == FEOX_ERR_CORRUPT) {
        return fx_cli_fail("%s: damaged; what is sound is in %s", args->file, to);
    }
    return fx_cli_status(status, args->file, strlen(args->file));
}

static uint64_t file_size(feox_store *store) {
    feox_statistics statistics;
    feox_statistics_init(&statistics);
    (void)feox_stats(store, &statistics);
    return statistics.file_size;
}

int fx_cli_run_compact(const fx_cli_args *args) {
    feox_store *store = NULL;
    int status = fx_cli_store_open(args, FX_CLI_CHANGE, &store);
    if (status != 0) {
        return status;
    }
    uint64_t before = file_size(store);
    feox_status done = feox_compact(store);
    if (done == FEOX_OK) {
        fx_cli_out_number(before);
        fx_cli_out_text(" bytes before, ");
        fx_cli_out_number(file_size(store));
        fx_cli_out_text(" bytes after\n");
    }
    status = fx_cli_status(done, args->file, strlen(args->file));
    return fx_cli_store_close(args, store, status);
}
