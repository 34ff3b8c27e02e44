"use strict";
// The state is what is kept in the browser and what is saved as a file: one form for both, so that a saved file can be
// gone on from.
const study = JSON.parse(document.getElementById("data").textContent);
const PLACE = `study-${study.study}`;
const PAUSE = 200; // milliseconds in which the choice is seen before the next set comes
const questions = new Map(study.questions.map((question) => [question.id, question]));
const element = (id) => document.getElementById(id);

let state = load();
let place = 0; // in state.order; its length is the end
let ready = false; // pictures are all there, nothing was chosen a moment ago
let shownAt = 0;
let pause = 0; // the timer of the next set
let kept = true; // whether the browser keeps answers

function begin() {
  const random = crypto.getRandomValues(new Uint32Array(questions.size + 2));
  const keys = [...questions.keys()].map((id, i) => [random[i], id]).sort((a, b) => a[0] - b[0]);
  const participant = [...random.slice(-2)].map((part) => part.toString(16).padStart(8, "0")).join("");
  // An order for each person, so that nobody's fatigue meets the same pictures as everybody's.
  return { format: 1, study: study.study, participant, started: Date.now(), order: keys.map(([, id]) => id), answers: {} };
}

function valid(found) {
  const order = found?.order;
  const whole = Array.isArray(order) && new Set(order).size === questions.size && order.length === questions.size;
  const fits = (id, answer) => questions.get(id)?.choices.includes(answer?.choice) && Number.isFinite(answer.at);
  return whole && order.every((id) => questions.has(id)) && found.format === 1 && found.study === study.study &&
    /^[0-9a-f]{16}$/.test(found.participant) && typeof found.answers === "object" && found.answers !== null &&
    Object.entries(found.answers).every(([id, answer]) => fits(id, answer));
}

function load() {
  try {
    const found = JSON.parse(localStorage.getItem(PLACE));
    return valid(found) ? found : null;
  } catch {
    return null;
  }
}

function keep() {
  try {
    localStorage.setItem(PLACE, JSON.stringify(state));
  } catch {
    kept = false;
    warn("This browser does not keep your answers. Please save them before you close or reload this page.");
  }
}

function warn(text) {
  element("warning").textContent = text;
  element("warning").hidden = !text;
}

const answered = () => (state ? Object.keys(state.answers).length : 0);

function firstOpen() {
  const open = state.order.findIndex((id) => !(id in state.answers));
  return open < 0 ? state.order.length : open;
}

function show(view) {
  for (const id of ["intro", "ask", "end"]) element(id).hidden = id !== view;
  element("count").textContent = view === "ask"
    ? `${place + 1} of ${questions.size}` : `${answered()} of ${questions.size} answered`;
  element("bar").value = answered();
  element("save").hidden = !answered() || view === "end";
  scrollTo(0, 0);
  element(view).querySelector("h1").focus({ preventScroll: true });
}

function render() {
  if (!state) return show("intro");
  if (place >= state.order.length && firstOpen() < state.order.length) place = firstOpen();
  if (place >= state.order.length) {
    element("file").textContent = fileName();
    element("saved").textContent = "";
    return show("end");
  }
  ask(questions.get(state.order[place]));
  show("ask");
}

function source(name) {
  return `pictures/${name}.png`;
}

function dress(image, name, [width, height]) {
  image.src = source(name);
  image.width = width;
  image.height = height;
  image.classList.toggle("tiny", width <= 128); // enlarged by whole numbers, pixel by pixel
  image.style.setProperty("--side", `${width}px`);
}

function choiceButton(question, name, i) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "choice";
  button.disabled = true;
  button.dataset.picture = name;
  button.setAttribute("aria-keyshortcuts", i + 1);
  const image = document.createElement("img");
  image.alt = `Filled in, picture ${i + 1}`;
  dress(image, name, question.size);
  const caption = document.createElement("span");
  caption.textContent = i + 1;
  caption.setAttribute("aria-hidden", "true");
  button.append(image, caption);
  button.addEventListener("click", () => choose(i));
  return button;
}

function mark(question) {
  const choice = state.answers[question.id]?.choice;
  for (const button of element("choices").children) {
    button.setAttribute("aria-pressed", button.dataset.picture === choice);
  }
  element("next").disabled = choice === undefined;
}

async function ask(question) {
  ready = false;
  const k = question.choices.length;
  element("ask").dataset.question = question.id;
  element("ask").dataset.ready = "";
  element("set").style.setProperty("--k", k);
  dress(element("given"), question.given, question.size);
  element("choices").replaceChildren(...question.choices.map((name, i) => choiceButton(question, name, i)));
  element("hint").innerHTML = `Click a picture or press <kbd>1</kbd> to <kbd>${k}</kbd>`;
  element("back").disabled = place === 0;
  mark(question);
  try {
    await Promise.all([...element("set").querySelectorAll("img")].map((image) => image.decode()));
  } catch {
    if (element("ask").dataset.question === question.id) {
      warn("A picture cannot be shown. Please keep the study's folder whole, with pictures beside this page, and reload.");
    }
    return;
  }
  if (element("ask").dataset.question !== question.id) return; // somebody was faster
  for (const button of element("choices").children) button.disabled = false;
  element("ask").dataset.ready = "yes";
  ready = true;
  shownAt = performance.now();
  preload(questions.get(state.order[place + 1]));
}

function preload(question) {
  for (const name of question ? [question.given, ...question.choices] : []) new Image().src = source(name);
}

function choose(i) {
  const question = questions.get(state?.order[place]);
  if (!ready || element("ask").hidden || !question?.choices[i]) return;
  ready = false;
  const seconds = Math.round((performance.now() - shownAt) / 10) / 100;
  state.answers[question.id] = { choice: question.choices[i], at: Date.now(), seconds };
  keep();
  mark(question);
  pause = setTimeout(() => go(place + 1), PAUSE);
}

function go(to) {
  clearTimeout(pause);
  place = Math.max(0, to);
  render();
}

const fileName = () => `answers-${state.participant}.json`;

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(state, null, 1)], { type: "application/json" }));
  link.download = fileName();
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  element("saved").textContent = `Saved as ${link.download}. Please send this file back.`;
}

async function restore(file) {
  let found = null;
  try {
    found = JSON.parse(await file.text());
  } catch { /* no JSON: said below */ }
  if (!valid(found)) return warn("This file holds no answers to this study. Please choose another one.");
  warn("");
  state = found;
  keep();
  go(firstOpen());
}

element("start").addEventListener("click", () => { state = begin(); keep(); go(0); });
element("restore").addEventListener("change", (event) => event.target.files[0] && restore(event.target.files[0]));
element("back").addEventListener("click", () => go(place - 1));
element("next").addEventListener("click", () => go(place + 1));
element("review").addEventListener("click", () => go(state.order.length - 1));
for (const id of ["save", "finish"]) element(id).addEventListener("click", save);
element("another").addEventListener("click", () => {
  if (!confirm("Your answers will be removed from this browser. Have you saved them?")) return;
  try { localStorage.removeItem(PLACE); } catch { /* nothing was kept */ }
  state = null;
  go(0);
});

document.addEventListener("keydown", (event) => {
  if (element("ask").hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^[1-9]$/.test(event.key)) choose(Number(event.key) - 1);
  else if (event.key === "ArrowLeft" && !element("back").disabled) go(place - 1);
  else if (event.key === "ArrowRight" && !element("next").disabled) go(place + 1);
});

// Another tab went on with the same study: what it kept counts here too.
addEventListener("storage", (event) => {
  if (event.key !== PLACE) return;
  state = load();
  place = state ? firstOpen() : 0;
  render();
});
addEventListener("beforeunload", (event) => { if (!kept && answered()) event.preventDefault(); });

place = state ? firstOpen() : 0;
render();
