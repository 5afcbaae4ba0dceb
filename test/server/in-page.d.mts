export function focused(): string | undefined;
export function focusedName(): string | undefined;
export function pageWidth(): number;
export function playedTo(): number;
export function droppedFile(encoded: string): unknown;
export function nameless(): string[];
export function contrasts(): number[];
