// The C++ half of `allocator.rs`: the C library's allocator, which libtorch uses too.
#include <climits>
#include <cstdlib>
#ifdef __GLIBC__
#include <malloc.h>
#endif

extern "C" bool tch_spiking_keep_freed_memory() {
#ifdef __GLIBC__
  return mallopt(M_MMAP_MAX, 0) == 1 && mallopt(M_TRIM_THRESHOLD, INT_MAX) == 1;
#else
  return false;
#endif
}
