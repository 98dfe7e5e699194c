/* Standard error while it goes to memory, see quiet.go. */

/* tfgo_catch sees to it that what is in the file memory comes to the file shown should
 * the process abort before tfgo_release is called. */
void tfgo_catch(int memory, int shown);
void tfgo_release(void);
