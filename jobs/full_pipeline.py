"""From images to three trained nets: prepare, mine and train stage after stage, evaluate, report."""

import _common

from mtcnn.config import load_config


def main() -> None:
    """Run every phase that is not done yet, then say what came out."""
    parser = _common.parser(__doc__ or "")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="only print the plan: phases, what is there already, crops and bytes to expect, resources",
    )
    options = parser.parse_intermixed_args()
    config = load_config(options.config, options.overrides)
    if options.dry_run:
        from mtcnn.dry_run import described

        print(described(config))
        return
    from mtcnn.pipeline import Pipeline
    from mtcnn.report.terminal import summary

    with _common.backend(config) as backend:
        pipeline = Pipeline(config, backend)
        findings = pipeline.all()
    print(summary(pipeline.log, findings.lines))
    print(f"\nweights  {pipeline.models.url}\nreport   {findings.report}")


if __name__ == "__main__":
    _common.run(main)
