/* Loads TensorFlow's C library into the jump slots of the trampolines. */

/* tfgo_load opens the library at path (a plain file name is looked up on the
 * loader's path). It returns NULL, or why it failed, to be freed by the caller. */
char *tfgo_load(const char *path);

/* tfgo_path returns the file that was loaded, to be freed by the caller. */
char *tfgo_path(void);
