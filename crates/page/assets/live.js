"use strict";
// Replaces the progress of running tasks whenever the server sends it. The page is complete without.
(() => {
  const live = document.getElementById("live");
  if (!live) return;
  const events = new EventSource("/events");
  let running = 0;
  let state = null;
  let hasEnded = false;
  events.addEventListener("progress", (event) => {
    live.innerHTML = event.data;
  });
  events.addEventListener("running", (event) => {
    hasEnded = hasEnded || Number(event.data) < running;
    running = Number(event.data);
  });
  // Once a task has ended and the destinations were read again, the tables are out of date.
  events.addEventListener("state", (event) => {
    if (hasEnded && state !== null && event.data !== state) location.reload();
    state = event.data;
  });
})();
