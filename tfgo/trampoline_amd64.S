/* Each function of the C API is one jump through its slot in library.c, so that
 * graft links without TensorFlow and the library can be chosen at run time. */

#define SYMBOL(name) \
	.globl name;              \
	.hidden name;             \
	.type name, @function;    \
	.p2align 4;               \
name:                             \
	jmp *tfgo_##name(%rip);   \
	.size name, . - name;

	.text
#include "symbols.h"

	.section .note.GNU-stack, "", @progbits
