// nodemailer's pool: node nodemailer.mjs PORT COUNT CONNECTIONS < MESSAGE
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const nodemailer = createRequire(process.env.NODEMAILER)("nodemailer");
const [port, count, connections] = process.argv.slice(2).map(Number);
const raw = readFileSync(0);
const envelope = { from: "sender@example.com", to: "to@example.net" };

const started = performance.now();
const pool = nodemailer.createTransport({
  host: "127.0.0.1", port, secure: false, ignoreTLS: true,
  pool: true, maxConnections: connections, maxMessages: Infinity,
});
let left = count;
const feed = async () => {
  while (left-- > 0) await pool.sendMail({ envelope, raw });
};
await Promise.all(Array.from({ length: connections * 2 }, feed));
const seconds = (performance.now() - started) / 1000;
const { user, system } = process.cpuUsage();
console.log(JSON.stringify({ seconds, cpu: (user + system) / 1e6 }));
pool.close();
