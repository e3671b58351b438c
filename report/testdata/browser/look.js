// Opens pages in Chromium and prints, as JSON, what is wrong with each of them at desktop and
// phone width, in light and dark: node look.js CHROMIUM DIRECTORY FILE...
// It needs axe-core and puppeteer-core beside it.
const puppeteer = require('puppeteer-core');
const axe = require('axe-core').source;
const fs = require('fs');
const path = require('path');

const views = [
  { name: 'desktop', width: 1280, height: 900, scheme: 'light' },
  { name: 'dark', width: 1280, height: 900, scheme: 'dark', rules: ['color-contrast'] },
  { name: 'phone', width: 390, height: 844, scheme: 'light' },
];

// look sees an open page in one view. said is what the page said and asked for so far.
async function look(page, file, view, dir, said) {
  await page.setViewport({ width: view.width, height: view.height });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: view.scheme }]);
  const seen = await page.evaluate(() => ({
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    cut: [...document.querySelectorAll('td, th, dd, bdi')].filter((e) => e.getBoundingClientRect().right > window.innerWidth + 1).length,
    // The style sheet took effect: the policy knows its digest.
    styled: getComputedStyle(document.querySelector('.verdict')).borderLeftStyle === 'solid',
    verdict: document.querySelector('.word').innerText,
    // The verdict stands in the first screen.
    above: document.querySelector('.word').getBoundingClientRect().bottom < window.innerHeight,
    rows: document.querySelectorAll('tr').length,
    cells: document.querySelectorAll('.map svg').length,
    tall: Math.max(0, ...[...document.querySelectorAll('.band')].map((e) => e.getBoundingClientRect().height)),
  }));
  await page.screenshot({ path: path.join(dir, path.basename(file, '.html') + '-' + view.name + '.png'), clip: { x: 0, y: 0, width: view.width, height: 2400 } });
  const fold = (open) => page.evaluate((open) => { document.querySelectorAll('details').forEach((d) => { d.open = open; }); }, open);
  const large = seen.rows >= 2000;
  if (!large) await fold(true);
  // The rules see the same elements at every width: of a large page they are asked once.
  const found = large && view.name !== 'desktop' && process.env.RUNS !== '100' ? { violations: [], passes: null }
    : await page.evaluate((rules) => axe.run(document, rules ? { runOnly: rules } : {}), view.rules);
  if (!large) await fold(false);
  const short = (list) => list.map((v) => v.id + ': ' + v.help + ': ' + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(' | '));
  return { file: path.basename(file), view: view.name, ...seen, said, violations: short(found.violations), passes: found.passes ? found.passes.length : -1 };
}

(async () => {
  const [chromium, dir, ...files] = process.argv.slice(2);
  const browser = await puppeteer.launch({ executablePath: chromium, args: ['--no-sandbox', '--disable-gpu'] });
  const out = [];
  for (const file of files) {
    const page = await browser.newPage();
    const said = [];
    page.on('console', (m) => said.push(m.text()));
    page.on('pageerror', (e) => said.push(String(e)));
    page.on('request', (r) => { if (r.url() !== 'file://' + file) said.push('asked for ' + r.url()); });
    await page.goto('file://' + file);
    await page.evaluate(axe);
    for (const view of views) out.push(await look(page, file, view, dir, said));
    await page.emulateMediaFeatures([]);
    await page.pdf({ path: path.join(dir, path.basename(file, '.html') + '.pdf'), preferCSSPageSize: true });
    await page.close();
  }
  await browser.close();
  fs.writeSync(1, JSON.stringify(out));
})().catch((e) => { console.error(e); process.exit(1); });
