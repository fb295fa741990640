/* output_private.h -- what output.c, output_dir.c and copy_file.c share. Not for other modules. */
#ifndef RECAST_CORE_OUTPUT_PRIVATE_H
#define RECAST_CORE_OUTPUT_PRIVATE_H

#include "core/output.h"
#include <limits.h>

enum { HIDDEN_NAME_SIZE = NAME_MAX + 1, HIDDEN_TRIES = 100 };

const char *last_component(const char *path); /* what follows the last slash; "" if nothing does */
/* Refuses what can't be the name of something new: "", "." and "..". */
int check_name(const char *path, Error *err) MUST_CHECK;
/* Opens the directory that holds (or will hold) `path`. */
int open_parent(int *directory, const char *path, Error *err) MUST_CHECK;
/* ".NAME.0123456789abcdef.tmp", with 64 random bits; a long NAME is cut to fit. */
void hidden_name(char out[HIDDEN_NAME_SIZE], const char *name);
/* ".NAME.KEY.partial"; ERR_IO if the key is none. */
int partial_name(char out[HIDDEN_NAME_SIZE], const char *name, const char *key, Error *err) MUST_CHECK;
int flush_file(int fd);             /* fsync; 0 or errno */
int flush_directory(int directory); /* the same, and no error where directories can't be flushed */
int remove_tree(int directory, const char *name); /* never follows a symbolic link; 0 or errno */
/* ERR_IO for a failed write to `path`; names the offset and, when the disk is full, what is free there. */
int write_failed(int fd, const char *path, uint64_t offset, int sys, Error *err);

#endif
