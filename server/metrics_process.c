/* metrics_process.c - getrusage, getrlimit, /proc/self/statm and the entries of /proc/self/fd.
 *
 * Reading them takes some 20 us, and about 0.2 us for each open file. Does not: fail; without /proc, families are left
 * out. */
#include "server/metrics_process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "server/metrics_text.h"

static double cpu_seconds(void)
{
    struct rusage usage = {.ru_utime = {.tv_sec = 0}};
    (void)getrusage(RUSAGE_SELF, &usage);
    struct timeval both;
    timeradd(&usage.ru_utime, &usage.ru_stime, &both);
    return (double)both.tv_sec + (double)both.tv_usec / 1e6;
}

/* 0: not told. */
static uint64_t resident_bytes(void)
{
    uint64_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    if (fscanf(file, "%*u %" SCNu64, &pages) != 1)
        pages = 0;
    (void)fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* 0: not told. */
static uint64_t open_files(void)
{
    uint64_t n = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (!folder)
        return 0;
    while (readdir(folder))
        n++;
    (void)closedir(folder);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the folder itself */
}

static void write_one(struct ebm_buf *buf, const char *name, const char *type, const char *help, double value)
{
    metrics_text_family(buf, name, type, help);
    metrics_text_number(buf, name, NULL, value);
}

void metrics_process_write(double start_time_s, struct ebm_buf *buf)
{
    uint64_t resident = resident_bytes(), files = open_files();
    struct rlimit limit;
    write_one(buf, "process_start_time_seconds", "gauge", "When the process started, seconds since 1970", start_time_s);
    write_one(buf, "process_cpu_seconds_total", "counter", "Time on CPUs of all threads, user and system",
              cpu_seconds());
    if (resident > 0)
        write_one(buf, "process_resident_memory_bytes", "gauge", "Memory that is resident", (double)resident);
    if (files > 0)
        write_one(buf, "process_open_fds", "gauge", "Files and sockets that are open", (double)files);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        write_one(buf, "process_max_fds", "gauge", "Files and sockets that may be open", (double)limit.rlim_cur);
}
