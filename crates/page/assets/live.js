"use strict";
// Replaces the progress of running tasks whenever the server sends it. The page is complete without.
(() => {
  const live = document.getElementById("live");
  if (!live) return;
  const events = new EventSource("/events");
  let running = null;
  events.addEventListener("progress", (event) => {
    live.innerHTML = event.data;
  });
  events.addEventListener("running", (event) => {
    // A task has ended: the tables of the page are out of date.
    if (running !== null && Number(event.data) < running) location.reload();
    running = Number(event.data);
  });
})();
