/* cut_file.h -- a mapped file that is cut, or whose disk fails, while it is read: the kernel answers with
 * SIGBUS, which would end the program without a word. */
#ifndef RECAST_CLI_CUT_FILE_H
#define RECAST_CLI_CUT_FILE_H

/* From now on such a fault says which file it was, and ends the program with the status of an I/O error.
 * Nothing that was computed from the file gets a name: outputs stay under their hidden ones, as after a kill.
 * Called once, by main. */
void catch_cut_files(void);

#endif
