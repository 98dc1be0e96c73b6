/* An NVIDIA driver that says what the file named by NVML_STATE says: pids that compute on the GPU, "hang", or "fail".
   As on a part of a GPU, there is no thermometer where NVML_PART is set.
   Built as libnvidia-ml.so.1, it is what nvidia-ml-py opens. Signatures: NVML API reference, NVIDIA. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, UNKNOWN = 999, MOST = 64 };
typedef struct { unsigned pid; unsigned long long memory; unsigned instance, compute; } Process;
typedef struct { unsigned long long total, free, used; } Memory;

static unsigned look(unsigned *pids) {
    char word[64];
    unsigned count = 0;
    FILE *file = fopen(getenv("NVML_STATE"), "r");
    while (file && count < MOST && fscanf(file, "%63s", word) == 1) {
        if (!strcmp(word, "hang"))
            for (;;) pause();
        if (!strcmp(word, "fail")) {
            fclose(file);
            return MOST + 1;
        }
        pids[count++] = (unsigned)strtoul(word, NULL, 10);
    }
    if (file) fclose(file);
    return count;
}

int nvmlInitWithFlags(unsigned flags) { return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = NULL; return SUCCESS; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) { *device = NULL; return SUCCESS; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "1.2.3"); return SUCCESS; }
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons) { *reasons = 0; return SUCCESS; }
int nvmlDeviceGetClockInfo(void *device, unsigned kind, unsigned *clock) { *clock = 1500; return SUCCESS; }
int nvmlDeviceGetTemperature(void *device, unsigned kind, unsigned *celsius) {
    *celsius = 60;
    return getenv("NVML_PART") ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetName(void *device, char *text, unsigned size) {
    unsigned pids[MOST];
    look(pids);
    snprintf(text, size, "stand-in");
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *device, Memory *memory) {
    memory->total = 40ull << 30;
    memory->used = 0;
    memory->free = memory->total;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, Process *found) {
    unsigned pids[MOST], now = look(pids), room = *count;
    if (now > MOST) return UNKNOWN;
    *count = now;
    if (now > room) return INSUFFICIENT_SIZE;
    memset(found, 0, now * sizeof *found);
    for (unsigned index = 0; index < now; index++) found[index].pid = pids[index];
    return SUCCESS;
}
