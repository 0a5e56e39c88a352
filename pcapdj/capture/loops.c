/* The loops that every packet goes through, compiled.
 *
 * Each function does what the Python function of the same name in `walk.py` does, and gives the same result for
 * every input: the Python form is the specification, and the tests compare the two. A function reads a window of
 * a capture file, stops in front of whatever is not usual, and leaves the verdict on it to its caller.
 *
 * Rules: every access is preceded by a check of its bounds; nothing is allocated; nothing is kept between two
 * calls; a buffer that is written to is as large as its parameter says. Offsets and sizes are in bytes.
 *
 *     record header of classic pcap, 16 bytes         enhanced packet block of pcapng, at least 32 bytes
 *     0     4      8        12    16                  0      4       8        12    16   20       24    28
 *     | sec | frac | caplen | len | packet ..         | kind | total | interf | high| low| caplen | len | packet ..
 *                                                     .. options | total |       total is a multiple of 4
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef __SIZEOF_INT128__
#error "times of pcapng need a 128-bit product; the Python form is used on this machine"
#endif

#ifndef PCAPDJ_SOURCE_DIGEST
#define PCAPDJ_SOURCE_DIGEST 0u
#endif

#define RECORD_HEADER_BYTES 16u
#define MAX_CAPTURED_BYTES 262144u
#define ENHANCED_PACKET_BLOCK 6u
#define BLOCK_FRAME_BYTES 32u /* of an enhanced packet block: all but packet, padding and options */
#define BLOCK_FIELDS_BYTES 28u
#define BLOCK_TRAILER_BYTES 4u
#define NS_PER_S UINT64_C(1000000000)

struct good_records {
    uint64_t end;
    uint64_t last;
    uint64_t packets;
    uint64_t lengths_bytes;
    uint64_t beyond_snaplen;
    uint64_t steps_back;
    uint64_t largest_step_back_ns;
    uint64_t has_times_after_2038;
};

struct interface {
    uint64_t ticks_per_s;
    int64_t offset_s;
    uint32_t linktype;
    uint32_t snaplen;
};

struct blocks {
    uint64_t end;
    uint64_t last;
    uint64_t packets;
    uint64_t cap_bytes;
    uint64_t lengths_bytes;
    uint64_t written_bytes;
    uint64_t beyond_snaplen;
    uint64_t steps_back;
    uint64_t largest_step_back_ns;
    uint64_t has_times_after_2038;
};

/* The times of the packets so far. */
struct times {
    uint64_t last_ns;
    uint64_t steps_back;
    uint64_t largest_step_back_ns;
    uint32_t seconds_seen; /* combined with | */
};

struct second {
    uint64_t start_ticks;
    uint64_t ticks_per_s;
    uint32_t interface;
    uint32_t value;
};

/* Returns the CRC-32 of the source that this library was built from. */
uint32_t pcapdj_source_digest(void);
void pcapdj_good_records(const uint8_t *window, uint64_t size, uint64_t position, uint32_t snaplen,
                         uint32_t fraction_ns, uint32_t big_endian, struct good_records *good);
void pcapdj_swap_headers(const uint8_t *window, uint8_t *records, uint64_t size, uint32_t snaplen,
                         uint32_t fraction_ns, struct good_records *good);
void pcapdj_scale_to_microseconds(const uint8_t *window, uint8_t *records, uint64_t size, uint32_t snaplen,
                                  uint32_t fraction_ns, struct good_records *good);
void pcapdj_enhanced_records(const uint8_t *window, uint64_t size, uint64_t position, uint32_t big_endian,
                             const struct interface *interfaces, uint64_t interface_count, uint32_t linktype,
                             uint64_t units_per_s, uint8_t *records, uint64_t records_size, struct blocks *blocks);

static uint32_t little32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t big32(const uint8_t *at)
{
    return (uint32_t)at[3] | (uint32_t)at[2] << 8 | (uint32_t)at[1] << 16 | (uint32_t)at[0] << 24;
}

static uint32_t field(const uint8_t *at, uint32_t big_endian)
{
    return big_endian ? big32(at) : little32(at);
}

static void put_little32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
    at[2] = (uint8_t)(value >> 16);
    at[3] = (uint8_t)(value >> 24);
}

/* Reports whether `bytes` bytes from `position` on lie within `size`. */
static int fits(uint64_t position, uint64_t bytes, uint64_t size)
{
    return position <= size && size - position >= bytes;
}

static void add_time(struct times *times, uint32_t seconds, uint64_t fraction_ns)
{
    uint64_t ns = seconds * NS_PER_S + fraction_ns; /* a fraction has 32 bits of microseconds at most */

    if (ns < times->last_ns) {
        times->steps_back++;
        if (times->last_ns - ns > times->largest_step_back_ns)
            times->largest_step_back_ns = times->last_ns - ns;
    }
    times->last_ns = ns;
    times->seconds_seen |= seconds;
}

uint32_t pcapdj_source_digest(void)
{
    return PCAPDJ_SOURCE_DIGEST;
}

void pcapdj_good_records(const uint8_t *window, uint64_t size, uint64_t position, uint32_t snaplen,
                         uint32_t fraction_ns, uint32_t big_endian, struct good_records *good)
{
    struct times times = {0, 0, 0, 0};
    uint64_t last = position, packets = 0, lengths_bytes = 0, beyond_snaplen = 0;

    while (fits(position, RECORD_HEADER_BYTES, size)) {
        uint32_t captured = field(window + position + 8, big_endian);

        if (captured == 0 || captured > MAX_CAPTURED_BYTES
            || !fits(position, (uint64_t)RECORD_HEADER_BYTES + captured, size))
            break;
        beyond_snaplen += captured > snaplen;
        add_time(&times, field(window + position, big_endian),
                 (uint64_t)field(window + position + 4, big_endian) * fraction_ns);
        lengths_bytes += field(window + position + 12, big_endian);
        packets++;
        last = position;
        position += (uint64_t)RECORD_HEADER_BYTES + captured;
    }
    *good = (struct good_records){position, last, packets, lengths_bytes, beyond_snaplen, times.steps_back,
                                  times.largest_step_back_ns, times.seconds_seen >> 31};
}

void pcapdj_swap_headers(const uint8_t *window, uint8_t *records, uint64_t size, uint32_t snaplen,
                         uint32_t fraction_ns, struct good_records *good)
{
    struct times times = {0, 0, 0, 0};
    uint64_t position = 0, last = 0, packets = 0, lengths_bytes = 0, beyond_snaplen = 0;

    while (fits(position, RECORD_HEADER_BYTES, size)) {
        const uint8_t *header = window + position;
        uint32_t captured = big32(header + 8), length = big32(header + 12);

        if (captured == 0 || captured > MAX_CAPTURED_BYTES
            || !fits(position, (uint64_t)RECORD_HEADER_BYTES + captured, size))
            break;
        beyond_snaplen += captured > snaplen;
        add_time(&times, big32(header), (uint64_t)big32(header + 4) * fraction_ns);
        put_little32(records + position, big32(header));
        put_little32(records + position + 4, big32(header + 4));
        put_little32(records + position + 8, captured);
        put_little32(records + position + 12, length);
        lengths_bytes += length;
        packets++;
        last = position;
        position += (uint64_t)RECORD_HEADER_BYTES + captured;
    }
    *good = (struct good_records){position, last, packets, lengths_bytes, beyond_snaplen, times.steps_back,
                                  times.largest_step_back_ns, times.seconds_seen >> 31};
}

void pcapdj_scale_to_microseconds(const uint8_t *window, uint8_t *records, uint64_t size, uint32_t snaplen,
                                  uint32_t fraction_ns, struct good_records *good)
{
    struct times times = {0, 0, 0, 0};
    uint64_t position = 0, last = 0, packets = 0, lengths_bytes = 0, beyond_snaplen = 0;

    while (fits(position, RECORD_HEADER_BYTES, size)) {
        const uint8_t *header = window + position;
        uint32_t captured = little32(header + 8);

        if (captured == 0 || captured > MAX_CAPTURED_BYTES
            || !fits(position, (uint64_t)RECORD_HEADER_BYTES + captured, size))
            break;
        beyond_snaplen += captured > snaplen;
        add_time(&times, little32(header), (uint64_t)little32(header + 4) * fraction_ns);
        put_little32(records + position + 4, little32(header + 4) / 1000u);
        lengths_bytes += little32(header + 12);
        packets++;
        last = position;
        position += (uint64_t)RECORD_HEADER_BYTES + captured;
    }
    *good = (struct good_records){position, last, packets, lengths_bytes, beyond_snaplen, times.steps_back,
                                  times.largest_step_back_ns, times.seconds_seen >> 31};
}

/* Finds the second that the ticks lie in; 0: it does not fit into 32 bits. */
static int find_second(const struct interface *interface, uint32_t number, uint64_t ticks, struct second *second)
{
    uint64_t value;

    if (interface->ticks_per_s == 0)
        return 0;
    value = ticks / interface->ticks_per_s;
    second->start_ticks = value * interface->ticks_per_s;
    second->ticks_per_s = interface->ticks_per_s;
    second->interface = number;
    if (interface->offset_s >= 0) {
        uint64_t offset = (uint64_t)interface->offset_s;

        if (value > UINT32_MAX || offset > UINT32_MAX - value)
            return 0;
        value += offset;
    } else {
        uint64_t offset = 0u - (uint64_t)interface->offset_s;

        if (value < offset || value - offset > UINT32_MAX)
            return 0;
        value -= offset;
    }
    second->value = (uint32_t)value;
    return 1;
}

/* Returns the nanoseconds of less than a second of ticks. */
static uint32_t nanoseconds_of(uint64_t ticks, uint64_t ticks_per_s)
{
    if (ticks_per_s == NS_PER_S)
        return (uint32_t)ticks;
    if (ticks_per_s == 1000000u)
        return (uint32_t)ticks * 1000u;
    return (uint32_t)((unsigned __int128)ticks * NS_PER_S / ticks_per_s);
}

void pcapdj_enhanced_records(const uint8_t *window, uint64_t size, uint64_t position, uint32_t big_endian,
                             const struct interface *interfaces, uint64_t interface_count, uint32_t linktype,
                             uint64_t units_per_s, uint8_t *records, uint64_t records_size, struct blocks *blocks)
{
    struct second second = {0, 0, 0, 0};
    struct times times = {0, 0, 0, 0};
    uint64_t last = position, packets = 0, cap_bytes = 0, lengths_bytes = 0, written = 0, beyond_snaplen = 0;

    while (fits(position, BLOCK_FRAME_BYTES, size)) {
        const uint8_t *block = window + position;
        uint32_t total = field(block + 4, big_endian), number = field(block + 8, big_endian);
        uint32_t captured = field(block + 20, big_endian), length = field(block + 24, big_endian);
        uint64_t ticks = (uint64_t)field(block + 12, big_endian) << 32 | field(block + 16, big_endian);
        uint32_t fraction_ns;

        if (field(block, big_endian) != ENHANCED_PACKET_BLOCK || captured > MAX_CAPTURED_BYTES)
            break;
        if (total < captured + BLOCK_FRAME_BYTES || (total & 3u) != 0 || !fits(position, total, size))
            break;
        if (field(block + total - BLOCK_TRAILER_BYTES, big_endian) != total)
            break;
        if (number >= interface_count || interfaces[number].linktype != linktype)
            break;
        if (second.ticks_per_s == 0 || number != second.interface || ticks < second.start_ticks
            || ticks - second.start_ticks >= second.ticks_per_s) {
            if (!find_second(&interfaces[number], number, ticks, &second))
                break;
        }
        if (!fits(written, (uint64_t)RECORD_HEADER_BYTES + captured, records_size))
            break;
        fraction_ns = nanoseconds_of(ticks - second.start_ticks, second.ticks_per_s);
        add_time(&times, second.value, fraction_ns);
        beyond_snaplen += captured > interfaces[number].snaplen;
        put_little32(records + written, second.value);
        put_little32(records + written + 4, units_per_s == NS_PER_S ? fraction_ns : fraction_ns / 1000u);
        put_little32(records + written + 8, captured);
        put_little32(records + written + 12, length);
        memcpy(records + written + RECORD_HEADER_BYTES, block + BLOCK_FIELDS_BYTES, captured);
        written += (uint64_t)RECORD_HEADER_BYTES + captured;
        cap_bytes += captured;
        lengths_bytes += length;
        packets++;
        last = position;
        position += total;
    }
    *blocks = (struct blocks){position, last, packets, cap_bytes, lengths_bytes, written, beyond_snaplen,
                              times.steps_back, times.largest_step_back_ns, times.seconds_seen >> 31};
}
