/* page_style.c - how a page looks. Colours stand once, as variables; charts use them by class.
 *
 * Blue for what the model says, orange for what is compared with it, grey for what is expected; both hues keep apart
 * for colour-blind readers and stand at least 3 : 1 against the surface. Nothing is said by colour alone. */
#include "trainer/page.h"

const char *const page_style[] = {
    ":root{color-scheme:light dark;--page:#f6f6f3;--card:#fcfcfb;--ink:#0b0b0b;--soft:#52514e;--faint:#6d6b66;"
    "--line:#e1e0d9;--axis:#b5b4ab;--edge:rgba(11,11,11,.10);--model:#2a78d6;--other:#c2571f;--expect:#898781;"
    "--band:rgba(137,135,129,.20);--good:#0a7d0a;--bad:#b5380c}\n",
    "@media (prefers-color-scheme:dark){:root{--page:#0d0d0d;--card:#1a1a19;--ink:#ffffff;--soft:#c3c2b7;"
    "--faint:#9a988f;--line:#2c2c2a;--axis:#4a4945;--edge:rgba(255,255,255,.10);--model:#3987e5;--other:#e0763c;"
    "--expect:#898781;--band:rgba(137,135,129,.26);--good:#3fb53f;--bad:#f0835a}}\n",
    "*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);"
    "font:16px/1.5 system-ui,-apple-system,\"Segoe UI\",sans-serif}\n",
    "main,header,footer{max-width:1120px;margin:0 auto;padding:0 20px}header{padding-top:32px}\n",
    "h1{font-size:28px;line-height:1.2;margin:0 0 6px;overflow-wrap:anywhere}"
    "h2{font-size:20px;margin:40px 0 4px;overflow-wrap:anywhere}h3{font-size:16px;margin:0 0 2px}\n",
    "p{margin:0 0 12px;max-width:72ch;overflow-wrap:anywhere}.sub{color:var(--soft)}\n",
    ".card,.tile,.verdict{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:16px}\n",
    ".verdict{margin-top:16px;border-left:4px solid var(--good)}.verdict.bad{border-left-color:var(--bad)}"
    ".verdict p{margin:0}.mark{font-weight:700;color:var(--good)}.bad .mark,.mark.bad{color:var(--bad)}\n",
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,236px),1fr));gap:12px;"
    "margin:12px 0 0}\n",
    ".tile .label{color:var(--soft);font-size:14px}.tile .value{font-size:30px;line-height:1.25;font-weight:600}"
    ".tile .value small{font-size:15px;white-space:nowrap;font-weight:400;color:var(--soft)}"
    ".tile p{margin:4px 0 0;font-size:14px;color:var(--soft)}\n",
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:12px;"
    "margin-top:12px}.card .sub{font-size:14px;margin:0 0 8px}\n",
    ".card{min-width:0;margin:0}.card.wide{margin-top:12px}figure.card{display:flex;flex-direction:column}"
    "figcaption p{font-size:14px;color:var(--soft);margin:0 0 8px}figure details{margin-top:auto}\n",
    "svg{display:block;width:100%;height:auto;overflow:visible}svg text{font-size:12px;fill:var(--soft)}"
    "svg .tick{fill:var(--faint);font-variant-numeric:tabular-nums}svg .name{fill:var(--soft)}"
    "svg .label{fill:var(--ink)}.grid{stroke:var(--line);stroke-width:1}.axis{stroke:var(--axis);stroke-width:1}\n",
    ".wide svg text{font-size:11px}.line{fill:none;stroke:var(--model);stroke-width:2;stroke-linejoin:round;"
    "stroke-linecap:round}.line.thin{stroke-width:1.3;stroke:var(--ink);stroke-opacity:.75}"
    ".line.dash{stroke-dasharray:4 4}.expect{fill:none;stroke:var(--expect);stroke-width:1.5;"
    "stroke-dasharray:5 4}.band{fill:var(--band)}.bar{fill:var(--model)}\n",
    ".dot{fill:none;stroke:var(--model);stroke-width:8;stroke-linecap:round}"
    ".line.other{stroke:var(--other)}.dot.other{stroke:var(--other)}.dot.best{stroke:var(--other);stroke-width:10}"
    ".dot.row{stroke:var(--other);stroke-width:3.2;stroke-opacity:.8}\n",
    ".cell{fill:var(--model)}.keys{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:13px;color:var(--soft);"
    "margin:8px 0 0;padding:0;list-style:none}.keys svg{display:inline-block;width:auto;height:12px;"
    "vertical-align:-1px;margin-right:6px}\n",
    "details{font-size:14px;color:var(--soft)}summary{cursor:pointer;padding:6px 0}"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px;color:var(--ink);"
    "font-variant-numeric:tabular-nums}th,td{text-align:right;padding:5px 10px;border-bottom:1px solid var(--line);"
    "white-space:nowrap}th{color:var(--soft);font-weight:500}th:first-child,td:first-child,.text{text-align:left}"
    "td:first-child,th:first-child{padding-left:0}.name-cell{white-space:normal;overflow-wrap:anywhere;"
    "min-width:7em}\n",
    "pre{overflow-x:auto;background:var(--page);border:1px solid var(--line);border-radius:6px;padding:10px 12px;"
    "font-size:13px;margin:6px 0;color:var(--ink);max-width:100%}"
    "dd pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0}"
    "code{font-family:ui-monospace,Menlo,Consolas,"
    "monospace}dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:4px 18px;margin:0;font-size:14px}"
    "dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}footer{padding-top:24px;padding-bottom:40px;"
    "color:var(--soft);font-size:14px}\n",
    "@media (max-width:560px){main,header,footer{padding-left:14px;padding-right:14px}h1{font-size:23px}"
    "svg text{font-size:14px}.wide svg text{font-size:20px}.wide svg .odd{display:none}"
    "dl{grid-template-columns:minmax(0,1fr);gap:0}"
    "dd{margin-bottom:8px}.tiles{grid-template-columns:repeat(2,1fr);gap:8px}.tile{padding:12px}"
    ".tile .value{font-size:24px}.card{padding:12px}}\n",
    "@media print{:root{--page:#ffffff;--card:#ffffff}.card,.tile,.verdict{break-inside:avoid}"
    "body{font-size:11pt}}\n",
    NULL,
};
