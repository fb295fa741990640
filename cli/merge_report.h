/* merge_report.h -- what adapters changed, for people and for programs. */
#ifndef RECAST_CLI_MERGE_REPORT_H
#define RECAST_CLI_MERGE_REPORT_H

#include "core/error.h"
#include "model/lora.h"

/* What could not be checked of the adapters, as notes on stderr. lora may be NULL. */
void merge_report_warn(const Lora *lora);
/* Lines on stdout. lora: finished. */
void merge_report_print(const Lora *lora);
/* {"adapters": [...], "tensors": [{"name", "elements", "changed", "largest", "mean"}, ...], ...} as a member
 * "lora" of doc. */
int merge_report_json(const Lora *lora, cJSON *doc, Error *err) MUST_CHECK;

#endif
