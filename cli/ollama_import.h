/* ollama_import.h -- a GGUF into Ollama's store without a copy. */
#ifndef RECAST_CLI_OLLAMA_IMPORT_H
#define RECAST_CLI_OLLAMA_IMPORT_H

#include "cli/cli.h"
#include "packager/launch.h"

/* Links the file into the store ($OLLAMA_MODELS, else ~/.ollama/models) under the name that its SHA-256 gives
 * it, and, if Ollama runs (OLLAMA_HOST, else 127.0.0.1:11434), has it make the model `name` of it. Prints
 * what was done. Errors: ERR_UNSUPPORTED (a split GGUF, another file system), ERR_IO. */
int ollama_import(Cli *cli, const LaunchPlan *plan, const char *name, Error *err) MUST_CHECK;

#endif
