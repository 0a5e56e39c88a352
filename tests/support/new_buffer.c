/* Preloaded into Suricata 7, this does what Suricata 8.0.0 to 8.0.5 do: it gives libpcap's file a new buffer after
 * pcap_open_offline has read the file header. What was read ahead with the header is lost; a pipe cannot seek back. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

typedef struct pcap pcap_t;
FILE *pcap_file(pcap_t *capture);
pcap_t *pcap_open_offline(const char *name, char *error);

pcap_t *pcap_open_offline(const char *name, char *error)
{
    static char buffer[131072];
    pcap_t *(*real)(const char *, char *);
    pcap_t *capture;

    *(void **)&real = dlsym(RTLD_NEXT, "pcap_open_offline");
    capture = real(name, error);
    if (capture)
        setvbuf(pcap_file(capture), buffer, _IOFBF, sizeof buffer);
    return capture;
}
