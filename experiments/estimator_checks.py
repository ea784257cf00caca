"""All of scikit-learn's checks of estimators, on those of `jsweep.sklearn`.

python experiments/estimator_checks.py      # some minutes
"""

import collections
import warnings

from sklearn.utils.estimator_checks import check_estimator

import jsweep as js


def main() -> None:
    warnings.simplefilter("ignore")  # checks pass what is warned of
    for estimator in (js.sklearn.SweepClassifier, js.sklearn.SweepRegressor):
        results = check_estimator(estimator(n=2, epochs=30, random_state=0), on_fail=None, on_skip=None)
        counts = collections.Counter(result["status"] for result in results)
        print(f"{estimator.__name__}: {', '.join(f'{count} {status}' for status, count in sorted(counts.items()))}")
        for result in results:
            if result["status"] in ("failed", "skipped"):
                print(f"  {result['check_name']} {result['status']}: {result['exception']}")


if __name__ == "__main__":
    main()
