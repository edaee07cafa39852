package anomaly

import (
	"math"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// studentQuantile returns what Student's t with nu degrees of freedom exceeds
// with the probability tail, which is at most a half.
//
// gonum's own quantile bisects, which takes 30 µs, keeps fewer digits far out,
// and goes astray from about 100,000 degrees of freedom on; its distribution
// function does not. So Newton's steps lead from a start that is close: gonum's
// quantile, or the expansion around the normal distribution where that is good.
func studentQuantile(tail, nu float64) float64 {
	student := distuv.StudentsT{Sigma: 1, Nu: nu}
	var t float64
	if nu < 200 {
		t = -student.Quantile(tail)
	} else {
		z := -mathext.NormalQuantile(tail)
		z2 := z * z
		t = z + z*((z2+1)/(4*nu)+
			((5*z2+16)*z2+3)/(96*nu*nu)+
			(((3*z2+19)*z2+17)*z2-15)/(384*nu*nu*nu))
	}
	if nu > 1e5 {
		return t // what the expansion leaves out is of the order of nu^-4
	}
	for range 2 {
		// On the logarithm of the probability, which is nearly a parabola.
		p := student.CDF(-t)
		t += math.Log(p/tail) * p / student.Prob(t)
	}
	return t
}
