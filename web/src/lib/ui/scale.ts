// Round values for a scale from 0 to `end`, at most `most` of them besides 0.
export function marks(end: number, most = 6): number[] {
  if (end <= 0) return [0];
  const rough = end / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((candidate) => candidate >= rough)!;
  return Array.from({ length: Math.floor(end / step + 1e-9) + 1 }, (_, number) => number * step);
}
