// MQTT.js with what the scenarios need: awaiting messages, cutting the line.

// Milliseconds that a client waits for anything it must get.
export const DEADLINE = 20_000;

// How many publications await their acknowledgement at once; MQTT.js does not count them itself.
const WINDOW = 10;

const PROTOCOLS = {
  '3.1': { protocolId: 'MQIsdp', protocolVersion: 3 },
  '3.1.1': { protocolId: 'MQTT', protocolVersion: 4 },
  '5.0': { protocolId: 'MQTT', protocolVersion: 5 },
};

export const VERSIONS = Object.keys(PROTOCOLS);

export class Client {
  #mqtt;
  #messages = [];
  #waiting = [];

  // Returns once CONNACK has accepted the client.
  static async connect(mqtt, { host, port, version, clientId, keepSession = false, ...options }) {
    const properties = { ...options.properties };
    if (version === '5.0' && keepSession) properties.sessionExpiryInterval = 300;
    const self = new Client();
    self.#mqtt = mqtt.connect({
      host,
      port,
      clientId,
      clean: !keepSession,
      reconnectPeriod: 0,
      connectTimeout: DEADLINE,
      ...PROTOCOLS[version],
      ...options,
      properties: version === '5.0' ? properties : undefined,
    });
    self.#mqtt.on('message', (topic, payload, packet) => self.#take(topic, payload, packet));
    const accepted = new Promise((resolve, reject) => {
      self.#mqtt.once('connect', resolve);
      self.#mqtt.once('error', reject);
      self.#mqtt.once('close', () => reject(new Error('closed before CONNACK')));
    });
    self.sessionPresent = (await within(accepted, 'CONNACK')).sessionPresent;
    // A line that is cut may end in an error; the tests look at what arrives.
    self.#mqtt.on('error', () => {});
    return self;
  }

  #take(topic, payload, packet) {
    const { qos, retain, properties } = packet;
    this.#messages.push({ topic, payload, qos, retain, properties });
    this.#waiting.splice(0).forEach((wake) => wake());
  }

  // Returns once SUBACK has granted the QoS.
  async subscribe(filter, qos = 0) {
    const [granted] = await within(this.#mqtt.subscribeAsync(filter, { qos }), 'SUBACK');
    if (granted.qos !== qos) throw new Error(`granted ${granted.qos} instead of ${qos}`);
  }

  // Returns once the message is acknowledged, or written if its QoS is 0.
  async publish(topic, payload, options = {}) {
    await within(this.#mqtt.publishAsync(topic, payload, options), 'acknowledgement');
  }

  // Publishes [topic, payload] pairs in order.
  async publishAll(messages, options) {
    for (let start = 0; start < messages.length; start += WINDOW) {
      const part = messages.slice(start, start + WINDOW);
      await Promise.all(part.map(([topic, payload]) => this.publish(topic, payload, options)));
    }
  }

  // The next message that arrives.
  async next() {
    return (await this.takeMany(1))[0];
  }

  // The next `count` messages; fails if they stop coming.
  async takeMany(count) {
    while (this.#messages.length < count) {
      const arrival = new Promise((resolve) => this.#waiting.push(resolve));
      await within(arrival, `${count} messages, of which ${this.#messages.length} arrived,`);
    }
    return this.#messages.splice(0, count);
  }

  // What has arrived and was not taken.
  get pending() {
    return this.#messages;
  }

  // Says DISCONNECT.
  async disconnect() {
    await within(this.#mqtt.endAsync(), 'end');
  }

  // Closes the socket without a DISCONNECT.
  async cut() {
    const closed = new Promise((resolve) => this.#mqtt.once('close', resolve));
    this.#mqtt.stream.destroy();
    await within(closed, 'close');
  }
}

// `promise`, or an error that says what did not come.
export async function within(promise, what, deadline = DEADLINE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${deadline} ms`)), deadline);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
