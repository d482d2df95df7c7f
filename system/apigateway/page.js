// The first page: it reads everything once, then follows the event stream, and
// reads again slowly what the stream does not tell. All text goes into the page
// as text, never as markup.
"use strict";

const readPeriod = 5000; // ms, of channels, alarms and health
const typeNames = { T: "Telemetry", S: "Signals", C: "Controls", A: "Setpoints" };

const place = (id) => document.getElementById(id);
const devices = new Map(); // channel id -> {card, state, reason, tables, rows, online}
let updates = 0; // how many update events have come, to tell what is newer than a reply
let alarmTimer = 0;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// short is for reading; what is exact stands in the title.
function short(number) {
  return Number(number).toLocaleString(undefined, { maximumFractionDigits: 3 });
}

function setState(node, state, word) {
  node.dataset.state = state;
  write(node, word);
}

// fetchEnvelope returns what every reply is: data, or an error; of ill health both.
async function fetchEnvelope(path, options) {
  const reply = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(4000), ...options });
  try {
    return await reply.json();
  } catch {
    throw new Error("answer " + reply.status + " without JSON");
  }
}

// ask returns the data of an envelope, or throws what its error says.
async function ask(path, options) {
  const envelope = await fetchEnvelope(path, options);
  if (envelope.error) throw new Error(envelope.error.message);
  return envelope.data;
}

function notice(key, text) {
  notices.set(key, text);
  const all = [...notices.values()].filter(Boolean).join(" · ");
  write(place("notice"), all);
  place("notice").hidden = !all;
}
const notices = new Map();

// --- devices ---

function deviceOf(channel) {
  let device = devices.get(channel.id);
  if (device) return device;
  const card = element("article", "device");
  const heading = element("div", "heading");
  const title = element("h3", "", channel.name + " ");
  title.append(element("small", "", String(channel.id)));
  const state = element("p", "state");
  heading.append(title, state);
  const reason = element("p", "reason");
  reason.hidden = true;
  card.append(heading, reason);
  device = { card, state, reason, tables: new Map(), rows: new Map(), told: "" };
  devices.set(channel.id, device);
  place("devices").append(card);
  return device;
}

function tableOf(device, type) {
  let body = device.tables.get(type);
  if (!body) {
    const table = element("table");
    table.append(element("caption", "", typeNames[type] || type));
    body = element("tbody");
    table.append(body);
    device.tables.set(type, body);
    device.card.append(table);
  }
  return body;
}

function rowOf(device, point) {
  const key = point.type + ":" + point.id;
  let row = device.rows.get(key);
  if (!row) {
    const line = element("tr");
    const name = element("th", "", point.name.replaceAll("_", " "));
    name.scope = "row";
    row = { line, value: element("td", "value"), quality: element("td", "quality"), newest: 0 };
    line.append(name, row.value, element("td", "unit", point.unit), row.quality);
    device.rows.set(key, row);
    tableOf(device, point.type).append(line);
  }
  return row;
}

// showValue keeps the last number where none is given: its quality says that it
// is not to be trusted.
function showValue(row, number, time, quality) {
  if (number !== null) {
    write(row.value, short(number));
    row.value.title = number + (time ? " at " + new Date(time).toLocaleTimeString() : "");
  } else if (row.value.textContent === "") {
    row.value.textContent = "–";
    row.value.title = "never read";
  }
  row.line.dataset.quality = quality;
  write(row.quality, quality === "good" ? "" : quality);
}

async function readPoints(id) {
  const before = updates;
  const points = await ask("/api/channels/" + id + "/points?limit=1000");
  const device = devices.get(id);
  for (const point of points) {
    const row = rowOf(device, point);
    if (row.newest > before) continue; // an event overtook this reply
    showValue(row, point.value, point.time, point.quality);
    row.quality.title = point.reason || "";
  }
}

// readDevices reads the state of every channel, and the points of those that are
// new, have changed their state, or are not online. all asks for every point.
async function readDevices(all) {
  let channels;
  try {
    channels = await ask("/api/channels");
  } catch (fault) {
    distrust();
    notice("devices", "Values are not current: " + fault.message);
    return;
  }
  notice("devices", "");
  const wanted = [];
  for (const channel of channels) {
    const device = deviceOf(channel);
    const word = !channel.enabled ? "switched off" : channel.online ? "online" : "offline";
    setState(device.state, !channel.enabled ? "waiting" : channel.online ? "well" : "bad", word);
    write(device.reason, channel.enabled && !channel.online ? channel.reason || "" : "");
    device.reason.hidden = device.reason.textContent === "";
    if (all || device.told !== word || word === "offline") wanted.push(channel.id);
    device.told = word;
  }
  const known = new Set(channels.map((channel) => channel.id));
  for (const [id, device] of devices) {
    if (known.has(id)) continue;
    device.card.remove();
    devices.delete(id);
  }
  place("no-devices").hidden = channels.length > 0;
  write(place("no-devices"), "No devices: channels.yaml names none.");
  const results = await Promise.allSettled(wanted.map(readPoints));
  const failed = results.find((result) => result.status === "rejected");
  notice("points", failed ? "Some values could not be read: " + failed.reason.message : "");
  if (failed) for (const id of wanted) devices.get(id).told = "";
}

// distrust marks what is shown as old, because nobody tells any more when it
// changes.
function distrust() {
  for (const device of devices.values()) {
    setState(device.state, "bad", "not known");
    for (const row of device.rows.values()) {
      if (row.line.dataset.quality === "good") showValue(row, null, null, "stale");
    }
    device.told = "";
  }
}

// takeUpdate shows one batch: values holds points and numbers in turn, quality
// the points that are not good, which may come without a number.
function takeUpdate(update) {
  updates++;
  const device = devices.get(update.channel);
  if (!device) return;
  const show = (id, number, quality) => {
    const row = device.rows.get(update.type + ":" + id);
    if (!row) return;
    row.newest = updates;
    showValue(row, number, update.time, quality);
    if (quality === "good") row.quality.title = "";
  };
  for (const [id, quality] of Object.entries(update.quality)) show(id, null, quality);
  for (let i = 0; i < update.values.length; i += 2) {
    show(update.values[i], update.values[i + 1], update.quality[update.values[i]] || "good");
  }
}

// --- alarms ---

// askForAlarms returns what is open, most severe first: also what has cleared and
// nobody has acknowledged. In a flood of mild ones the severe ones stay.
async function askForAlarms() {
  const found = [];
  for (const level of ["Critical", "Major", "Minor", "Warning", "Info"]) {
    if (found.length < 200) found.push(...await ask("/api/alarms?state=open&level=" + level + "&limit=" + (200 - found.length)));
  }
  return found;
}

async function readAlarms() {
  let alarms;
  try {
    alarms = await askForAlarms();
  } catch (fault) {
    notice("alarms", "Alarms are not current: " + fault.message);
    return;
  }
  notice("alarms", "");
  const list = place("alarms");
  const focused = document.activeElement?.dataset?.alarm;
  const shown = alarms.map(showAlarm);
  if (list.dataset.shown !== JSON.stringify(alarms)) {
    list.dataset.shown = JSON.stringify(alarms);
    list.replaceChildren(...shown);
    if (focused) list.querySelector('[data-alarm="' + CSS.escape(focused) + '"]')?.focus();
  }
  write(place("alarm-count"), alarms.length ? (alarms.length === 200 ? "200 or more" : String(alarms.length)) : "");
  place("no-alarms").hidden = alarms.length > 0;
  write(place("no-alarms"), "None.");
}

function showAlarm(alarm) {
  const item = element("li");
  const cleared = alarm.state === "cleared_unacknowledged";
  const open = cleared || alarm.state === "active_unacknowledged";
  item.dataset.level = alarm.level;
  item.dataset.acknowledged = open ? "no" : "yes";
  const text = element("div");
  text.append(element("span", "", alarm.title));
  const parts = [alarm.source, "since " + new Date(alarm.raised_at).toLocaleString()];
  if (cleared) parts.push("cleared " + new Date(alarm.cleared_at).toLocaleString());
  if (alarm.value !== undefined) parts.push("value " + short(alarm.value));
  if (alarm.occurrences > 1) parts.push(alarm.occurrences + " times");
  if (alarm.chattering) parts.push("chattering");
  if (alarm.escalated_from) parts.push("escalated from " + alarm.escalated_from);
  if (alarm.shelved) parts.push("shelved until " + new Date(alarm.shelved.until).toLocaleString() + " by " + alarm.shelved.by);
  if (alarm.suppressed) parts.push("suppressed");
  if (alarm.description) parts.push(alarm.description);
  if (!open) parts.push("acknowledged by " + (alarm.acknowledged_by || "somebody"));
  text.append(element("span", "detail", parts.join(" · ")));
  item.append(element("span", "level", alarm.level), text);
  const button = element("button", "", open ? "Acknowledge" : "Acknowledged");
  button.type = "button";
  button.disabled = !open;
  button.dataset.alarm = alarm.id;
  button.setAttribute("aria-label", button.textContent + ": " + alarm.title);
  button.addEventListener("click", () => acknowledge(alarm, button));
  item.append(button);
  return item;
}

// acknowledge names the occurrence that the person has seen: one that came since
// is refused, and shown.
async function acknowledge(alarm, button) {
  button.disabled = true;
  const by = place("operator").value.trim() || "operator";
  try {
    await ask("/api/alarms/" + encodeURIComponent(alarm.id) + "/acknowledge", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ by, occurrence: alarm.occurrences }),
    });
    notice("acknowledge", "");
  } catch (fault) {
    notice("acknowledge", "Not acknowledged: " + fault.message);
    button.disabled = false;
  }
  readAlarms();
}

// --- services ---

async function readHealth() {
  let health;
  try {
    const envelope = await fetchEnvelope("/health/detailed");
    if (!envelope.data) throw new Error(envelope.error.message);
    health = envelope.data; // of the sick ones too, which the error names
  } catch (fault) {
    notice("health", "Service health is not known: " + fault.message);
    return;
  }
  notice("health", "");
  const redis = health.services.apigateway.checks.redis;
  redisAway = redis.status !== "healthy";
  showConnection();
  if (redisAway) distrust();
  const items = Object.entries(health.services).map(([name, service]) => {
    const item = element("li");
    const row = element("div", "row");
    const well = service.status === "healthy";
    const state = element("span", "state");
    setState(state, well ? "well" : "bad", service.status);
    row.append(element("span", "name", name), state);
    item.append(row);
    for (const [check, result] of Object.entries(service.checks || {})) {
      if (result.status !== "healthy") item.append(element("p", "detail", check + ": " + result.detail));
    }
    return item;
  });
  place("services").replaceChildren(...items);
}

// --- the event stream ---

function readAll() {
  return Promise.all([readDevices(true), readAlarms(), readHealth()]);
}

let streaming = false;
let redisAway = false; // then the stream is open and silent

function showConnection() {
  const word = !streaming ? "not live, reconnecting" : redisAway ? "not live, Redis does not answer" : "live";
  setState(place("connection"), word === "live" ? "well" : "bad", word);
}

function follow() {
  const stream = new EventSource("/api/events");
  stream.addEventListener("open", () => {
    streaming = true;
    showConnection();
    readAll(); // what happened before, or meanwhile, is not told again
  });
  stream.addEventListener("error", () => {
    streaming = false;
    showConnection();
    if (stream.readyState !== EventSource.CLOSED) return;
    stream.close(); // refused, and the browser has given up
    setTimeout(follow, readPeriod);
  });
  stream.addEventListener("update", (event) => takeUpdate(JSON.parse(event.data)));
  stream.addEventListener("alarm", () => {
    clearTimeout(alarmTimer); // one reading for a burst of them
    alarmTimer = setTimeout(readAlarms, 150);
  });
  stream.addEventListener("dropped", readAll);
}

let broken = false; // the health was not good at the last reading

async function readSlowly() {
  await Promise.all([readDevices(false), readAlarms(), readHealth()]);
  const well = notices.get("devices") === "" && !document.querySelector("#services [data-state=bad]");
  if (well && broken) await readDevices(true); // events were missed
  broken = !well;
  setTimeout(readSlowly, readPeriod);
}

place("operator").value = localStorage.getItem("operator") || "operator";
place("operator").addEventListener("change", (event) => localStorage.setItem("operator", event.target.value.trim()));
follow();
setTimeout(readSlowly, readPeriod);
