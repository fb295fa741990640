/* commands.c -- the table of commands, in the order in which --help lists them. A new command is one file and
 * one line here. */
#include "cli/cli.h"

const Command *const commands[] = {
    &command_init,    &command_build,    &command_pin,  &command_convert, &command_edit,   &command_inspect,
    &command_compare, &command_validate, &command_run,  &command_eval,    &command_sweep,  &command_tokenize,
    &command_package, &command_unpack,   &command_sign, &command_publish, &command_launch, NULL,
};
