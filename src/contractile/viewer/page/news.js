// News from the server: what was painted in another window, what the model predicts, how learning goes.
// The browser connects again by itself; where it gave up, we do.

const KINDS = ["changed", "predicted", "learning", "scores", "suggestions", "job", "better", "refused"];
const SILENCE = 25000; // ms: the server speaks every ten seconds
const AGAIN = 2000;

/** `tell(kind, what)` for each piece of news; `linked(now, again)` when the connection comes or goes. */
export function listenForNews(tell, linked) {
  let source;
  let before = false;
  const open = () => {
    source = new EventSource("api/news");
    source.onopen = () => {
      linked(true, before);
      before = true;
    };
    source.onerror = () => {
      linked(false, before);
      if (source.readyState === EventSource.CLOSED) setTimeout(open, AGAIN);
    };
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        const what = parsed(event.data);
        if (what) tell(kind, what);
      });
    }
  };
  open();
  // A machine that slept may hold a connection that is dead without knowing it.
  let seen = Date.now();
  setInterval(() => {
    const slept = Date.now() - seen > SILENCE;
    seen = Date.now();
    if (!slept) return;
    source.close();
    open();
  }, 5000);
  addEventListener("pagehide", () => source.close());
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
