/* fail_alloc.c - a library to be preloaded: the n-th allocation of one object's code fails, once.
 *
 * EBM_FAIL_ALLOC names a file of two 64-bit integers, mapped and shared with the test:
 *
 *   left     allocations until one fails; negative: none fails
 *   failed   how many have failed
 *
 * Only calls from that object's code count: EBM_FAIL_OBJECT is a part of its name; not set, it is the program itself.
 * jansson 2.14 and libuv are none to try: they end a process over some of theirs. */
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct plan {
    _Atomic int64_t left, failed;
};

static struct plan *plan; /* NULL: nothing fails */
static uintptr_t code_begin, code_end;

/* glibc's own, which malloc and its relatives are names of */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

/* The first object that is told is the program. */
static int find_code(struct dl_phdr_info *info, size_t size, void *user)
{
    const char *object = user;
    (void)size;
    if (object && !strstr(info->dlpi_name, object))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X)) {
            code_begin = info->dlpi_addr + segment->p_vaddr;
            code_end = code_begin + segment->p_memsz;
        }
    }
    return 1;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("EBM_FAIL_ALLOC");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    (void)dl_iterate_phdr(find_code, getenv("EBM_FAIL_OBJECT"));
    void *shared = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (shared != MAP_FAILED)
        plan = shared;
}

static bool fails(const void *caller)
{
    uintptr_t at = (uintptr_t)caller;
    if (!plan || at < code_begin || at >= code_end || atomic_load(&plan->left) < 0)
        return false;
    if (atomic_fetch_sub(&plan->left, 1) != 0)
        return false;
    atomic_fetch_add(&plan->failed, 1);
    return true;
}

void *malloc(size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size);
}
