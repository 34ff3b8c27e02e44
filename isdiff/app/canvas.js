// The photo with paint over it. Each stroke is an operation; undo draws all but the last again. The photo is none of
// them, so nothing that is undone takes it away. The value is a PNG of the paint at the photo's own size, empty for none.
const find = name => element.querySelector(name)
const [view, sheet, photo, canvas, svg, path, ring, size, zoom] =
  ['.view', '.sheet', 'img', 'canvas', 'svg', 'path', 'circle', 'input', 'select'].map(find)
const pen = canvas.getContext('2d', {willReadFrequently: true})
let done = [], undone = [], shape = 'brush', erase = false, points = null, shown = null, scale = 1

const draw = ({image, line, width, erase}) => {
  pen.globalCompositeOperation = erase ? 'destination-out' : 'source-over'
  if (image !== undefined) pen.clearRect(0, 0, canvas.width, canvas.height)
  if (image) pen.drawImage(image, 0, 0)
  if (!line) return
  pen.lineWidth = width
  width ? pen.stroke(new Path2D(line)) : pen.fill(new Path2D(line))
}
const ready = () => { pen.strokeStyle = pen.fillStyle = '#ff3c78'; pen.lineCap = pen.lineJoin = 'round' }
const redraw = () => { pen.clearRect(0, 0, canvas.width, canvas.height); done.forEach(draw) }
const tell = () => {
  props.value = done.length ? canvas.toDataURL() : ''
  trigger('input')
}
const act = operation => { done.push(operation); undone = []; draw(operation); tell() }
const back = (from, to) => { if (from.length) { to.push(from.pop()); redraw(); tell() } }
const picture = source => new Promise(found => { const image = new Image(); image.onload = () => found(image); image.src = source })
const painted = async () => props.value ? {image: await picture(props.value)} : {image: null}

const fit = () => {
  if (!shown) return
  const {width, height} = shown, around = view.getBoundingClientRect()
  scale = +zoom.value || Math.min((around.width - 2) / width, (around.height - 2) / height)
  sheet.style.width = `${width * scale}px`
  sheet.style.height = `${height * scale}px`
  sheet.style.setProperty('--scale', `${scale}px`)
  photo.style.imageRendering = scale > 1 ? 'pixelated' : 'auto'
}
const resize = by => { size.value = Math.round(size.value * by + (by > 1 ? 0.5 : -0.5)); ring.setAttribute('r', size.value / 2) }
const place = paint => {  // a photo on the canvas, with what is painted on it already
  const alike = ['width', 'height'].every(side => shown?.[side] === props.photo[side])
  shown = props.photo
  photo.src = shown.url
  for (const part of [canvas, svg]) for (const side of ['width', 'height']) part.setAttribute(side, shown[side])
  svg.setAttribute('viewBox', `0 0 ${shown.width} ${shown.height}`)
  const longer = Math.max(shown.width, shown.height)
  size.max = Math.max(8, Math.round(longer / 4))
  if (!alike) size.value = Math.max(2, Math.round(longer / 20)), zoom.value = '0'  // else one goes on with the same photo
  sheet.hidden = false, find('.view p').hidden = true
  done = paint.image ? [paint] : [], undone = []
  ready(), redraw(), fit()
  trigger('input')
}
let turns = 0
const arrive = async () => {  // photo and paint come one after the other; the last one counts
  const turn = ++turns
  await new Promise(wake => setTimeout(wake))
  const paint = await painted()
  if (turn !== turns) return
  if (props.photo && props.photo.key !== shown?.key) place(paint)
  else if (shown) act(paint)
}
watch(['photo', 'value'], arrive)
if (props.photo) arrive()

// the pointer
const at = event => {
  const box = canvas.getBoundingClientRect()
  return [(event.clientX - box.left) / scale, (event.clientY - box.top) / scale].map(n => Math.round(n * 100) / 100)
}
const line = () => {
  const [[left, top]] = points, [right, bottom] = points.at(-1)
  const corners = shape === 'box' ? [[left, top], [right, top], [right, bottom], [left, bottom]] : points
  return `M${corners.join('L')}` + (shape === 'brush' ? `L${right + 0.01},${bottom}` : 'Z')
}
const width = () => shape === 'brush' ? +size.value : 0
canvas.onpointerdown = event => {
  if (!event.isPrimary || event.button) return (points = null)
  canvas.setPointerCapture(event.pointerId)
  points = [at(event)]
  canvas.onpointermove(event)
}
canvas.onpointermove = event => {
  const [x, y] = at(event)
  for (const [name, value] of [['cx', x], ['cy', y], ['r', width() / 2]]) ring.setAttribute(name, value)
  if (points) for (const each of event.getCoalescedEvents?.() ?? []) points.push(at(each))
  points?.push([x, y])
  path.setAttribute('d', points ? line() : '')
  path.style.cssText = width() ? `stroke-width:${width()};fill:none` : 'stroke:none'
  svg.classList.toggle('erase', erase)
}
canvas.onpointerup = () => { if (points) act({line: line(), width: width(), erase}); canvas.onpointercancel() }
canvas.onpointercancel = () => { points = null; path.setAttribute('d', '') }
canvas.onpointerleave = () => ring.setAttribute('r', 0)

// buttons and keys
const save = () => {  // white where there is paint, black elsewhere
  const mask = document.createElement('canvas'), flat = mask.getContext('2d')
  mask.width = canvas.width, mask.height = canvas.height
  flat.drawImage(canvas, 0, 0)
  for (const [how, colour] of [['source-in', '#fff'], ['destination-over', '#000']]) {
    flat.globalCompositeOperation = how
    flat.fillStyle = colour
    flat.fillRect(0, 0, mask.width, mask.height)
  }
  Object.assign(document.createElement('a'), {download: 'mask.png', href: mask.toDataURL()}).click()
}
const mark = () => element.querySelectorAll('[data-draw], [data-do=erase]').forEach(button =>
  button.setAttribute('aria-pressed', button.dataset.do ? erase : button.dataset.draw === shape))
const deeds = {
  erase: () => { erase = !erase }, undo: () => back(done, undone), redo: () => back(undone, done),
  clear: () => { if (done.length) act({image: null}) }, save,
  full: () => document.fullscreenElement ? document.exitFullscreen() : element.requestFullscreen(),
}
element.onclick = ({target: {dataset}}) => { shape = dataset.draw || shape; deeds[dataset.do]?.(); mark() }
zoom.onchange = fit
new ResizeObserver(fit).observe(view)
document.addEventListener('keydown', event => {
  if (event.target.closest?.('input:not([type=range]), textarea')) return
  const undo = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'z'
  const deed = undo ? deeds[event.shiftKey ? 'redo' : 'undo'] : {'[': () => resize(0.8), ']': () => resize(1.25)}[event.key]
  if (deed) event.preventDefault(), deed()
})
mark()

// photos that are dropped or pasted
const take = (event, data) => {
  const file = [...data?.files ?? []][0], input = document.querySelector('#load input[type=file]')
  if (!file || !input) return
  event.preventDefault()
  const carried = new DataTransfer()
  carried.items.add(file)
  input.files = carried.files
  input.dispatchEvent(new Event('change', {bubbles: true}))
}
document.addEventListener('paste', event => take(event, event.clipboardData))
document.addEventListener('dragover', event => event.preventDefault())
document.addEventListener('drop', event => take(event, event.dataTransfer))
