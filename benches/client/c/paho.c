/* One case with paho's asynchronous C client, as main.rs runs it: <case> <port> <messages>. Prints
 * milliseconds of processor time per message. */
#include <MQTTAsync.h>
#include "common.h"

static MQTTAsync client;
static volatile int connected;

static void on_sent(void *context, MQTTAsync_successData *data) {
    (void)context, (void)data;
    one_done();
}

static void on_subscribed(void *context, MQTTAsync_successData *data) {
    (void)context, (void)data;
    say_ready();
}

static void on_connected(void *context, MQTTAsync_successData *data) {
    (void)context, (void)data;
    connected = 1;
}

static int came(void *context, char *topic, int length, MQTTAsync_message *message) {
    (void)context, (void)length;
    if (received_one(message->payload, (size_t)message->payloadlen)) connected = 2;
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    return 1;
}

int main(int count, char **arguments) {
    struct run run = begin(count, arguments);
    char address[64], name[32];
    snprintf(address, sizeof address, "tcp://127.0.0.1:%d", run.port);
    snprintf(name, sizeof name, "paho-%d", (int)getpid());
    check(MQTTAsync_create(&client, address, name, MQTTCLIENT_PERSISTENCE_NONE, NULL) == MQTTASYNC_SUCCESS, "create");
    MQTTAsync_setCallbacks(client, NULL, NULL, came, NULL);
    MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
    options.maxInflight = IN_FLIGHT;
    options.onSuccess = on_connected;
    check(MQTTAsync_connect(client, &options) == MQTTASYNC_SUCCESS, "connect");
    while (connected == 0) usleep(1000);
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    if (run.is_receiving) {
        response.onSuccess = on_subscribed;
        MQTTAsync_subscribe(client, TOPIC, run.qos, &response);
        while (connected == 1) usleep(20000);
        finish_receiving();
        return 0;
    }
    response.onSuccess = on_sent;
    static char payload[PAYLOAD];
    double before = cpu_milliseconds();
    for (long at = 0; at < run.messages; at++) {
        wait_for_room();
        check(MQTTAsync_send(client, TOPIC, PAYLOAD, payload, run.qos, 0, &response) == MQTTASYNC_SUCCESS, "send");
    }
    wait_for_all();
    printf("%g\n", (cpu_milliseconds() - before) / (double)run.messages);
    return 0;
}
