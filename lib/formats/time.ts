/** HH:MM:SS.mmm; if `hours` is false, zero hours are omitted. */
export function timestamp(seconds: number, decimalMark: string, hours: boolean): string {
  const milliseconds = Math.round(seconds * 1000);
  const wholeHours = Math.floor(milliseconds / 3_600_000);
  const minutes = two(Math.floor(milliseconds / 60_000) % 60);
  const rest = `${minutes}:${two(Math.floor(milliseconds / 1000) % 60)}${decimalMark}${String(milliseconds % 1000).padStart(3, '0')}`;
  return hours || wholeHours > 0 ? `${two(wholeHours)}:${rest}` : rest;
}

/** lrc's [MM:SS.cc]; minutes are not limited to 59. */
export function minuteStamp(seconds: number): string {
  const hundredths = Math.round(seconds * 100);
  return `${two(Math.floor(hundredths / 6000))}:${two(Math.floor(hundredths / 100) % 60)}.${two(hundredths % 100)}`;
}

/** H:MM:SS.cc, for ass. */
export function hourStamp(seconds: number): string {
  const hundredths = Math.round(seconds * 100);
  const [hours, minutes] = [Math.floor(hundredths / 360_000), Math.floor(hundredths / 6000) % 60];
  return `${hours}:${two(minutes)}:${two(Math.floor(hundredths / 100) % 60)}.${two(hundredths % 100)}`;
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}
