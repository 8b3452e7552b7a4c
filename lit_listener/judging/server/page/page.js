// The form: what is asked of the server, and what comes of it.

import * as chosen from "./chosen.js";
import { byId, make } from "./elements.js";
import { show } from "./result.js";

let asking = null; // the controller of the request under way
const say = (text) => { byId("state").textContent = text; };

function fail(message) {
  byId("error").textContent = message;
  byId("error").hidden = false;
  byId("error").scrollIntoView({ block: "nearest" });
  say("");
}

function updateAnchors(files) {
  const select = byId("anchor");
  const before = select.value;
  select.querySelectorAll("[data-image]").forEach((option) => option.remove());
  files.forEach((file, place) => {
    const option = make("option", { value: String(place), text: `image ${place + 1}: ${file.name}` });
    option.dataset.image = "";
    select.lastElementChild.before(option);
  });
  const kept = [...select.options].some((option) => option.value === before);
  select.value = kept ? before : "seed";
  showAnchorField();
}

function showAnchorField() {
  byId("anchor-field").hidden = byId("anchor").value !== "file";
}

/** What the form asks. As JSON: a form's fields would turn a prompt's line breaks into others. */
async function question(files, anchorFile) {
  const asked = {
    prompt: byId("prompt").value.trim(),
    images: await Promise.all(files.map(base64)),
    rollouts: byId("rollouts").valueAsNumber,
    seed: byId("seed").valueAsNumber,
    both_orders: byId("both").checked,
    listen: byId("listen").checked,
  };
  if (anchorFile) asked.anchor_image = await base64(anchorFile);
  else if (byId("anchor").value !== "seed") asked.anchor = Number(byId("anchor").value);
  return asked;
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.split(",")[1] ?? "");
    reader.onerror = () => reject(new Unreadable(`${file.name} cannot be read any more: remove it, and choose it again.`));
    reader.readAsDataURL(file);
  });
}

class Unreadable extends Error {}

/** What keeps the question from being asked, in words; null for nothing. */
function missing(files, wantsAnchorFile, anchorFile) {
  if (!byId("prompt").value.trim()) return ["prompt", "Type the prompt of the images."];
  if (!files.length) return ["files", "Add the images to be ranked: choose, drop or paste them."];
  if (wantsAnchorFile && !anchorFile) return ["anchor-file", "Choose the anchor image, or let the seed draw one."];
  for (const id of ["rollouts", "seed"]) {
    if (!byId(id).checkValidity() || byId(id).value === "") {
      return [id, `${byId(id).labels[0].textContent}: ${byId(id).validationMessage || "type a whole number."}`];
    }
  }
  return null;
}

async function rank() {
  const files = chosen.files();
  const wantsAnchorFile = byId("anchor").value === "file";
  const anchorFile = wantsAnchorFile ? byId("anchor-file").files[0] : undefined;
  byId("error").hidden = true;
  const lack = missing(files, wantsAnchorFile, anchorFile);
  if (lack) {
    if (byId("options").contains(byId(lack[0]))) byId("options").open = true;
    byId(lack[0]).focus();
    fail(lack[1]);
    return;
  }
  const started = performance.now();
  asking = new AbortController();
  busy(true);
  say(`Ranking ${count(files)}…`);
  try {
    const ranking = await ask(await question(files, anchorFile), asking.signal);
    if (!ranking) return;
    show(ranking, files, anchorFile);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    say(`Ranked ${count(files)} in ${seconds} s. Best: ${files[ranking.order[0]].name}.`);
    byId("result").scrollIntoView({ block: "nearest" });
  } catch (error) {
    if (error.name === "AbortError") say("Stopped.");
    else if (error instanceof Unreadable) fail(error.message);
    else fail("No answer: the server cannot be reached, or takes no request of this size. Is it still running?");
  } finally {
    busy(false);
  }
}

const count = (files) => (files.length === 1 ? "1 image" : `${files.length} images`);

function busy(is) {
  if (!is) asking = null;
  byId("stop").hidden = !is;
  byId("rank").setAttribute("aria-disabled", is); // not disabled: that would take the focus away
  byId("rank").textContent = is ? "Ranking…" : "Rank";
  byId("ask").setAttribute("aria-busy", is);
}

/** The server's answer; null where it refuses, which is then told. */
async function ask(asked, signal) {
  const token = byId("token").value.trim();
  const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
  const response = await fetch("v1/rank", { method: "POST", body: JSON.stringify(asked), headers, signal });
  const said = await response.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return null;
  });
  if (response.ok && said) return said;
  const again = response.headers.get("Retry-After");
  const message = said?.error?.message ?? `The server answered ${response.status}, and not as a judge does.`;
  const request = said?.request_id ? ` (request ${said.request_id})` : "";
  fail(message + (again ? ` Try again in ${again} s.` : "") + request);
  if (response.status === 401) {
    byId("token-field").hidden = false;
    byId("token").focus();
  }
  return null;
}

async function greet() {
  try {
    const health = await (await fetch("health")).json();
    byId("served").textContent = `Judge: ${health.model} · lit_listener ${health.version}`;
    byId("listen-field").hidden = !health.can_listen;
    // a judge that rates each image by itself has no anchor and no display order
    byId("anchor-choice").hidden = byId("both-field").hidden = health.rates_images;
  } catch {
    fail("The server cannot be reached. Is it still running?");
  }
}

chosen.start(say, updateAnchors);
byId("anchor").addEventListener("change", showAnchorField);
byId("stop").addEventListener("click", () => asking?.abort());
byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!asking) rank();
});
byId("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    byId("ask").requestSubmit();
  }
});
greet();
