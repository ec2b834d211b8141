// Fetches the page again and puts in what changed, so that nothing flickers and
// nothing that is being read, marked or typed is lost.
'use strict';
const parts = ['now', 'bars', 'state', 'counters', 'disk', 'table', 'pools', 'run', 'maintenance'];
const usual = 15000, soon = 1500;
let timer, failing = 0;

function next(wait) {
  clearTimeout(timer);
  timer = setTimeout(refresh, wait);
}

// marked reports whether text in the part is being marked.
function marked(part) {
  const chosen = getSelection();
  return !chosen.isCollapsed && part.contains(chosen.anchorNode);
}

function put(part, fresh) {
  if (part.isEqualNode(fresh) || marked(part)) return;
  const open = [...part.querySelectorAll('details')].map(d => d.open);
  const focus = part.contains(document.activeElement) ? document.activeElement : null;
  const links = [...part.querySelectorAll('a, summary')];
  const at = focus ? links.indexOf(focus) : -1;
  const made = document.importNode(fresh, true);
  made.querySelectorAll('details').forEach((d, i) => { d.open = open[i] === true; });
  // The part itself stays: the browser may hold on to it, as what the URL's # points at.
  part.className = made.className;
  part.replaceChildren(...made.childNodes);
  if (at >= 0) {
    const same = [...part.querySelectorAll('a, summary')];
    const to = same.find(e => e.href && e.href === focus.href) || same[at];
    if (to) to.focus({preventScroll: true});
  }
}

async function refresh() {
  if (document.hidden) return next(usual);
  const lost = document.getElementById('lost');
  try {
    const answer = await fetch(location.pathname + location.search, {cache: 'no-store', signal: AbortSignal.timeout(10000)});
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    if (!page.getElementById('state')) throw new Error('another page');
    for (const id of parts) {
      const part = document.getElementById(id), fresh = page.getElementById(id);
      if (part && fresh) put(part, fresh);
    }
    if (document.title !== page.title) document.title = page.title;
    const icon = document.querySelector('link[rel=icon]'), mark = page.querySelector('link[rel=icon]');
    if (icon.getAttribute('href') !== mark.getAttribute('href')) icon.setAttribute('href', mark.getAttribute('href'));
    failing = 0;
    lost.hidden = true;
    next('soon' in page.body.dataset ? soon : usual);
  } catch {
    if (!failing) lost.querySelector('span').textContent = new Date().toLocaleTimeString();
    failing++;
    lost.hidden = false;
    next(usual);
  }
}

document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
next('soon' in document.body.dataset ? soon : usual);
