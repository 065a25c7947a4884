// The WebSocket to the viewer's server: newest messages in batches, each answered with a word.

const FIRST_WAIT_MS = 300;
const LONGEST_WAIT_MS = 5000;

/** Connect for ever. `onMessage(message, hop_ms)` for each message, `onLink(up)` on a change. */
export function connect(onMessage, onLink) {
  let wait_ms = FIRST_WAIT_MS;
  const open = () => {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/stream`);
    socket.onopen = () => {
      wait_ms = FIRST_WAIT_MS;
      onLink(true);
    };
    socket.onmessage = (event) => {
      const { hop_ms, messages } = JSON.parse(event.data);
      for (const message of messages) onMessage(message, hop_ms);
      socket.send("read"); // asks for the next batch; until then only the newest is kept for us
    };
    socket.onclose = () => {
      onLink(false);
      setTimeout(open, wait_ms);
      wait_ms = Math.min(LONGEST_WAIT_MS, wait_ms * 2);
    };
  };
  open();
}
