#define _GNU_SOURCE
#include "library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void not_loaded(void) {
  fputs("residual: TensorFlow's C library was called before tfgo.Load\n", stderr);
  abort();
}

#define HIDDEN __attribute__((visibility("hidden")))

/* One slot a function: where its trampoline jumps. */
#define SYMBOL(name) HIDDEN void *tfgo_##name = (void *)not_loaded;
#include "symbols.h"
#undef SYMBOL

static const struct {
  const char *name;
  void **slot;
} symbols[] = {
#define SYMBOL(name) {#name, &tfgo_##name},
#include "symbols.h"
#undef SYMBOL
};

enum { symbol_count = sizeof symbols / sizeof symbols[0] };

char *tfgo_load(const char *path) {
  /* Global, because TensorFlow's plug-ins look for its symbols. */
  void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  if (library == NULL) return strdup(dlerror());
  void *found[symbol_count];
  for (int i = 0; i < symbol_count; i++) {
    found[i] = dlsym(library, symbols[i].name);
    if (found[i] == NULL) {
      char *why = strdup(dlerror());
      dlclose(library);
      return why;
    }
  }
  for (int i = 0; i < symbol_count; i++) *symbols[i].slot = found[i];
  return NULL;
}

char *tfgo_path(void) {
  Dl_info info;
  if (dladdr(tfgo_TF_Version, &info) == 0) return NULL;
  return strdup(info.dli_fname);
}
