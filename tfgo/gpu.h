/* What NVIDIA's driver and libraries say of themselves. */

typedef struct {
  char name[256];
  unsigned long long memory; /* bytes */
  int major, minor;          /* compute capability */
} tfgo_gpu;

/* tfgo_driver starts the driver, and stores the CUDA version that it supports
 * (12040 for 12.4, 0 if it does not say, tfgo_no_driver where there is none) and how
 * many GPUs it shows. It returns NULL, or why it cannot, to be freed by the caller. */
enum { tfgo_no_driver = -1 };
char *tfgo_driver(int *version, int *count);

/* tfgo_gpu_at describes a GPU, in the driver's own order. The driver must have
 * been started. */
char *tfgo_gpu_at(int index, tfgo_gpu *gpu);

/* tfgo_try opens a library and asks it for its version by one of NVIDIA's ways.
 * The library stays open. It returns NULL, or why it cannot. */
char *tfgo_try(const char *library, int way, const char *function, long *version);

enum { tfgo_no_version, tfgo_version_result, tfgo_version_argument };

/* tfgo_cuda tells whether the TensorFlow that is loaded was built for NVIDIA's
 * GPUs: 1, 0, or -1 if it does not say. */
int tfgo_cuda(void);

/* tfgo_allow_tf32 lets products of float32 be computed in TF32, or not. */
void tfgo_allow_tf32(int allowed);
