/** The documentation of options, for the command line's help and the options page. */
import { documentation } from './documentation.js';
import { type Option, type OptionGroup, optionGroups } from './options.js';

export interface Description {
  /** What the option does. */
  about: string;
  /** The default, as documented; '' if there is none. */
  defaultText: string;
}

/** The group that declares an option; other groups may include it. */
function declaredIn(name: string, entry: Option<unknown, unknown>): OptionGroup {
  return optionGroups.find((group) => group.entries[name] === entry)!;
}

export function describe(name: string, entry: Option<unknown, unknown>): Description {
  const all: Record<string, Record<string, Description>> = documentation;
  return all[declaredIn(name, entry).name][name];
}
