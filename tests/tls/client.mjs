// MQTT.js over ws and wss: publishes to itself and says how many bytes came back.
//   client.mjs <folder of node_modules> <url> <protocol version> <bytes> [<CA>]

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';

const [folder, url, version, bytes, ca] = process.argv.slice(2);
const mqtt = createRequire(`${folder}/`)('mqtt');

setTimeout(() => fail(new Error('nothing came for too long')), 30_000).unref();

function fail(error) {
  console.log(`failed: ${error.message}`);
  process.exit(1);
}

const client = mqtt.connect(url, {
  protocolVersion: Number(version),
  reconnectPeriod: 0,
  ...(ca ? { ca: readFileSync(ca) } : {}),
});
client.on('error', fail);
const payload = randomBytes(Number(bytes));
const topic = `tls/node/${process.pid}`;
client.on('message', async (_, came) => {
  if (!came.equals(payload)) fail(new Error('another payload came'));
  console.log(`${came.length} bytes`);
  await client.endAsync();
});
client.on('connect', async () => {
  await client.subscribeAsync(topic, { qos: 1 });
  await client.publishAsync(topic, payload, { qos: 1 });
});
