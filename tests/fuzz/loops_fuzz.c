/* Fuzzes the compiled loops under address and undefined-behaviour sanitizers: `make fuzz`.
 *
 *     loops_fuzz SECONDS SEED
 *
 * Each round builds a window that is nearly right (records or blocks of random sizes), damages a few of its bytes,
 * cuts it anywhere, and gives it to every loop in buffers of exactly its size: one byte read or written too far is
 * reported. The results are checked as well: good records end where one of them ends, and there is room for all of them.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../pcapdj/capture/loops.c"

#define LARGEST_WINDOW 8192u

static uint64_t state;

static uint32_t below(uint32_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 16) % limit);
}

static uint32_t odd_number(void)
{
    static const uint32_t numbers[] = {0,          1,          2,          3,          27,         28,        31,
                                       32,         33,         0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFE0, 262143,
                                       262144,     262145,     0xFFFFFFDF, 0xFFFFFFF0, 0xFFFFFFEF, 16,         1000000};

    return numbers[below(sizeof numbers / sizeof *numbers)];
}

static void put(uint8_t *at, uint32_t value, uint32_t big_endian)
{
    for (unsigned i = 0; i < 4; i++)
        at[big_endian ? 3 - i : i] = (uint8_t)(value >> 8 * i);
}

static uint64_t records_into(uint8_t *window, uint32_t big_endian)
{
    uint64_t position = 0;

    for (;;) {
        uint32_t captured = below(8) ? below(200) : below(3000);

        if (!fits(position, RECORD_HEADER_BYTES + captured, LARGEST_WINDOW))
            return position;
        if (below(4))
            put(window + position, 9 + below(2), big_endian);
        put(window + position + 8, captured, big_endian);
        put(window + position + 12, captured + below(50), big_endian);
        position += RECORD_HEADER_BYTES + captured;
    }
}

static uint64_t blocks_into(uint8_t *window, uint32_t big_endian)
{
    uint64_t position = 0;

    for (;;) {
        uint32_t captured = below(8) ? below(200) : below(3000), options = 4 * below(8);
        uint32_t total = BLOCK_FRAME_BYTES + (captured + 3) / 4 * 4 + options;

        if (!fits(position, total, LARGEST_WINDOW))
            return position;
        put(window + position, below(20) ? ENHANCED_PACKET_BLOCK : below(7), big_endian);
        put(window + position + 4, total, big_endian);
        put(window + position + 8, below(10) ? 0 : below(4), big_endian);
        put(window + position + 20, captured, big_endian);
        put(window + position + 24, captured + below(50), big_endian);
        put(window + position + total - 4, total, big_endian);
        position += total;
    }
}

static void fail(const char *what)
{
    fprintf(stderr, "loops_fuzz: %s (state %" PRIu64 ")\n", what, state);
    abort();
}

static void check_counts(uint64_t packets, uint64_t beyond_snaplen, uint64_t steps_back, uint64_t largest_step_back_ns)
{
    if (beyond_snaplen > packets)
        fail("more records are beyond the snaplen than there are");
    if (steps_back > (packets ? packets - 1 : 0) || (steps_back == 0) != (largest_step_back_ns == 0))
        fail("more steps back than there are, or one of no length");
}

static void check_good(const struct good_records *good, uint64_t start, uint64_t limit)
{
    if (good->end < start || good->last < start || good->last > good->end)
        fail("good records end before they begin");
    if (good->end > start && (good->packets == 0 || good->end > limit))
        fail("good records end where none of them ends");
    if (good->end - start < good->packets * (RECORD_HEADER_BYTES + 1))
        fail("there are more records than fit");
    check_counts(good->packets, good->beyond_snaplen, good->steps_back, good->largest_step_back_ns);
}

static uint8_t *exact_copy(const uint8_t *bytes, uint64_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (!copy)
        fail("out of memory");
    if (size)
        memcpy(copy, bytes, size);
    return copy;
}

static void try_records(const uint8_t *window, uint64_t size, uint32_t big_endian)
{
    uint8_t *in = exact_copy(window, size), *out = exact_copy(window, size);
    uint32_t snaplen = below(4) ? MAX_CAPTURED_BYTES : below(3000);
    uint32_t fraction_ns = below(2) ? 1 : 1000;
    uint64_t position = below(4) ? 0 : below((uint32_t)size + 20);
    struct good_records good;

    pcapdj_good_records(in, size, position, snaplen, fraction_ns, big_endian, &good);
    check_good(&good, position, size);
    pcapdj_swap_headers(in, out, size, snaplen, fraction_ns, &good);
    check_good(&good, 0, size);
    pcapdj_scale_to_microseconds(in, out, size, snaplen, fraction_ns, &good);
    check_good(&good, 0, size);
    free(in);
    free(out);
}

static void try_blocks(const uint8_t *window, uint64_t size, uint32_t big_endian)
{
    static const uint64_t resolutions[] = {1, 10, 1000000, 1000000000, 10000000000000000000u, 1ull << 63, 1024, 0};
    struct interface interfaces[3];
    uint8_t *in = exact_copy(window, size);
    uint64_t position = below(4) ? 0 : below((uint32_t)size + 20);
    uint64_t room = below(4) ? size : below((uint32_t)size + 1);
    uint8_t *out = exact_copy(window, room);
    struct blocks blocks;
    uint64_t count = below(4);

    for (unsigned i = 0; i < 3; i++) {
        int64_t offsets[] = {0, 1, -1, INT64_MAX, INT64_MIN, UINT32_MAX, -(int64_t)UINT32_MAX, 3600};

        interfaces[i] = (struct interface){resolutions[below(8)], offsets[below(8)], below(5) ? 1 : 101, below(3000)};
    }
    pcapdj_enhanced_records(in, size, position, big_endian, interfaces, count, 1, below(2) ? 1000000 : 1000000000,
                            out, room, &blocks);
    if (blocks.end < position || blocks.last > blocks.end || (blocks.packets && blocks.end > size))
        fail("blocks end where none of them ends");
    if (blocks.written_bytes != blocks.cap_bytes + RECORD_HEADER_BYTES * blocks.packets || blocks.written_bytes > room)
        fail("more was written than was counted");
    check_counts(blocks.packets, blocks.beyond_snaplen, blocks.steps_back, blocks.largest_step_back_ns);
    free(in);
    free(out);
}

int main(int argc, char **argv)
{
    static uint8_t window[LARGEST_WINDOW];
    time_t until;
    uint64_t rounds = 0;

    if (argc != 3) {
        fprintf(stderr, "usage: loops_fuzz SECONDS SEED\n");
        return 2;
    }
    until = time(NULL) + atol(argv[1]);
    state = strtoull(argv[2], NULL, 10) * 2654435761u + 88172645463325252u;
    do {
        uint32_t big_endian = below(2), with_blocks = below(2);
        uint64_t size;

        for (unsigned i = 0; i < LARGEST_WINDOW; i += sizeof state) {
            below(1);
            memcpy(window + i, &state, sizeof state);
        }
        size = with_blocks ? blocks_into(window, big_endian) : records_into(window, big_endian);
        for (uint32_t changes = below(6); changes && size > 4; changes--) {
            uint8_t *at = window + below((uint32_t)size - 4);

            if (below(2))
                put(at, odd_number(), big_endian);
            else
                *at = (uint8_t)below(256);
        }
        if (below(2))
            size = below((uint32_t)size + 1);
        try_records(window, size, big_endian);
        try_blocks(window, size, big_endian);
        rounds++;
    } while (time(NULL) < until);
    printf("loops_fuzz: %" PRIu64 " windows, no fault\n", rounds);
    return 0;
}
