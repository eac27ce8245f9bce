/* count.cpp - bytes that kernels, products and copies move. */
#include "tests/gpu_sim/count.h"
#include "tests/gpu_sim/sim.h"

#include <ctype.h>
#include <map>
#include <stdio.h>
#include <string>
#include <unordered_set>

namespace gpu_sim
{

const bool counts = setting("GPU_SIM_COUNT", 0) != 0;

namespace
{

const unsigned SECTOR = 32; /* bytes */

struct moved {
    unsigned times;
    double read, written, block_read, block_written;
};

struct told { /* at the end of the process */
    std::map<std::string, moved> sums;

    ~told()
    {
        for (const auto &sum : sums) {
            const moved &m = sum.second;
            fprintf(stderr, "gpu_sim: %s: %u times %.3f MB read, %.3f MB written", sum.first.c_str(), m.times,
                    m.read / m.times * 1e-6, m.written / m.times * 1e-6);
            if (m.block_read > 0.0)
                fprintf(stderr, "; by its blocks %.3f MB and %.3f MB", m.block_read / m.times * 1e-6,
                        m.block_written / m.times * 1e-6);
            fputc('\n', stderr);
        }
    }
} all;

std::unordered_set<uint64_t> of_launch[2], of_block[2]; /* read, written */
double block_bytes[2];

} // namespace

void count_access(const void *at, size_t bytes, bool stores)
{
    if (!on_device(at, bytes, "a count"))
        return; /* shared memory by its general address */
    uint64_t first = reinterpret_cast<uintptr_t>(at) / SECTOR,
             last = (reinterpret_cast<uintptr_t>(at) + bytes - 1) / SECTOR;
    for (uint64_t sector = first; sector <= last; sector++)
        of_block[stores].insert(sector);
}

void count_block()
{
    for (unsigned i = 0; i < 2; i++) {
        block_bytes[i] += double(of_block[i].size() * SECTOR);
        of_launch[i].insert(of_block[i].begin(), of_block[i].end());
        of_block[i].clear();
    }
}

void count_launch(const char *name, size_t blocks)
{
    moved &sum = all.sums[std::string(name) + ", " + std::to_string(blocks) + " blocks"];
    sum.times++;
    sum.read += double(of_launch[0].size() * SECTOR);
    sum.written += double(of_launch[1].size() * SECTOR);
    sum.block_read += block_bytes[0];
    sum.block_written += block_bytes[1];
    for (unsigned i = 0; i < 2; i++) {
        of_launch[i].clear();
        block_bytes[i] = 0.0;
    }
}

void count_product(uint64_t rows, uint64_t columns, uint64_t depth, double read, double written)
{
    moved &sum =
        all.sums["product " + std::to_string(rows) + " x " + std::to_string(columns) + " of " + std::to_string(depth)];
    sum.times++;
    sum.read += read;
    sum.written += written;
}

void count_copy(const char *name, size_t bytes)
{
    moved &sum = all.sums[name];
    sum.times++;
    sum.read += double(bytes);
    sum.written += double(bytes);
}

} // namespace gpu_sim

/* A number at its end goes no further: "of 1" is not in "of 10". */
static bool has_words(const std::string &name, const std::string &part)
{
    const auto digit_at = [](const std::string &text, size_t at) {
        return at < text.size() && isdigit((unsigned char)text[at]);
    };
    size_t at = name.find(part);
    return at != std::string::npos && !(digit_at(part, part.size() - 1) && digit_at(name, at + part.size()));
}

long gpu_sim_counted(const char *part, double *ret_bytes)
{
    std::lock_guard<std::recursive_mutex> hold(gpu_sim::lock());
    long times = 0;
    *ret_bytes = 0.0;
    for (const auto &sum : gpu_sim::all.sums)
        if (has_words(sum.first, part)) {
            times += long(sum.second.times);
            *ret_bytes += sum.second.read + sum.second.written;
        }
    return times;
}
