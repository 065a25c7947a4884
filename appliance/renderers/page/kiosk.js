// A screen that nobody operates: whole, without a cursor, awake, and never left standing.

const RESTART_MS = 5000;

/** Turn the page into a kiosk's. Full screen needs a touch or a key, or a browser started with --kiosk. */
export function unattended(painter) {
  document.body.classList.add("bare", "kiosk");
  const fill = () => {
    if (!document.fullscreenElement) document.documentElement.requestFullscreen?.().catch(() => {}); // a browser may say no
  };
  addEventListener("pointerdown", fill);
  addEventListener("contextmenu", (event) => event.preventDefault());
  const wake = () => {
    if (document.visibilityState === "visible") navigator.wakeLock?.request("screen").catch(() => {}); // as above
  };
  document.addEventListener("visibilitychange", wake);
  wake();
  painter.addEventListener("error", () => setTimeout(() => location.reload(), RESTART_MS));
}
