#define _GNU_SOURCE
#include "gpu.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* CUDA's driver API (cuda.h): results are 0 or an error. */
typedef int (*driver_init)(unsigned int);
typedef int (*driver_int)(int *);
typedef int (*driver_device)(int *, int);
typedef int (*driver_name)(char *, int, int);
typedef int (*driver_memory)(size_t *, int);
typedef int (*driver_attribute)(int *, int, int);
typedef int (*driver_error)(int, const char **);

enum { capability_major = 75, capability_minor = 76 };

static void *driver;

static char *failure(const char *what, int code) {
  const char *text = NULL;
  driver_error describe = (driver_error)dlsym(driver, "cuGetErrorString");
  if (describe == NULL || describe(code, &text) != 0 || text == NULL) text = "unknown error";
  char *why = NULL;
  if (asprintf(&why, "%s: %s (CUDA error %d)", what, text, code) < 0) return strdup(what);
  return why;
}

static void *function(const char *name, char **why) {
  void *found = dlsym(driver, name);
  if (found == NULL && asprintf(why, "the driver has no %s", name) < 0) *why = strdup("the driver is too old");
  return found;
}

char *tfgo_driver(int *version, int *count) {
  *version = tfgo_no_driver;
  *count = 0;
  if (driver == NULL) driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
  if (driver == NULL) return strdup(dlerror());
  char *why = NULL;
  driver_init init = (driver_init)function("cuInit", &why);
  if (init == NULL) return why;
  driver_int versions = (driver_int)function("cuDriverGetVersion", &why);
  if (versions == NULL) return why;
  driver_int counts = (driver_int)function("cuDeviceGetCount", &why);
  if (counts == NULL) return why;
  *version = 0;
  versions(version); /* also where the driver cannot be started */
  int code = init(0);
  if (code != 0) return failure("start the driver", code);
  code = counts(count);
  return code == 0 ? NULL : failure("count the GPUs", code);
}

char *tfgo_gpu_at(int index, tfgo_gpu *gpu) {
  memset(gpu, 0, sizeof *gpu);
  char *why = NULL;
  driver_device device = (driver_device)function("cuDeviceGet", &why);
  if (device == NULL) return why;
  driver_name name = (driver_name)function("cuDeviceGetName", &why);
  if (name == NULL) return why;
  driver_memory memory = (driver_memory)function("cuDeviceTotalMem_v2", &why);
  if (memory == NULL) return why;
  driver_attribute attribute = (driver_attribute)function("cuDeviceGetAttribute", &why);
  if (attribute == NULL) return why;
  int handle = 0, code = device(&handle, index);
  size_t bytes = 0;
  if (code == 0) code = name(gpu->name, sizeof gpu->name, handle);
  if (code == 0) code = memory(&bytes, handle);
  if (code == 0) code = attribute(&gpu->major, capability_major, handle);
  if (code == 0) code = attribute(&gpu->minor, capability_minor, handle);
  gpu->memory = bytes;
  return code == 0 ? NULL : failure("describe the GPU", code);
}

char *tfgo_try(const char *library, int way, const char *name, long *version) {
  *version = 0;
  void *opened = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (opened == NULL) return strdup(dlerror());
  void *found = way == tfgo_no_version ? NULL : dlsym(opened, name);
  if (found == NULL) return NULL;
  int number = 0;
  switch (way) {
    case tfgo_version_result:
      *version = (long)((size_t(*)(void))found)();
      break;
    case tfgo_version_argument:
      if (((int (*)(int *))found)(&number) == 0) *version = number;
      break;
  }
  return NULL;
}

/* Both are functions of C++, of no stable API: they are asked for where they are. */
int tfgo_cuda(void) {
  int (*enabled)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "_ZN10tensorflow19IsGoogleCudaEnabledEv");
  return enabled == NULL ? -1 : enabled() & 1; /* a bool */
}

void tfgo_allow_tf32(int allowed) {
  void (*enable)(_Bool) = (void (*)(_Bool))dlsym(RTLD_DEFAULT, "_ZN3tsl32enable_tensor_float_32_executionEb");
  if (enable != NULL) enable(allowed != 0);
}
